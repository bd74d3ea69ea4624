// AWS SDK for JavaScript v3: one STS client.
const { STSClient, GetCallerIdentityCommand } = require("@aws-sdk/client-sts");
const { version } = require("@aws-sdk/client-sts/package.json");
const { drive } = require("./driving.cjs");

const client = new STSClient({ endpoint: process.env.MATRIX_ENDPOINT });
drive(version, () => client.send(new GetCallerIdentityCommand({})));
