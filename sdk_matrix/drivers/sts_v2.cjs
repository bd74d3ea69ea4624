// AWS SDK for JavaScript v2: one STS client.
const AWS = require("aws-sdk");
const { drive } = require("./driving.cjs");

const client = new AWS.STS({ endpoint: process.env.MATRIX_ENDPOINT });
drive(AWS.VERSION, () => client.getCallerIdentity().promise());
