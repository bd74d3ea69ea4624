// The loop of every driver in JavaScript: prints the version, then calls and prints outcomes until standard input ends.
const PAUSE_MILLISECONDS = 1500;

exports.drive = async (version, call) => {
  process.stdin.resume().on("end", () => process.exit());
  console.log(`version ${version}`);
  for (;;) {
    try {
      await call();
      console.log("done");
    } catch (error) {
      console.log(`failed ${error.name}`);
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MILLISECONDS));
  }
};
