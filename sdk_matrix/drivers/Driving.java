import java.util.concurrent.Callable;

/** The loop of every driver in Java: prints the version, then calls and prints outcomes until standard input ends. */
final class Driving {
    private static final long PAUSE_MILLISECONDS = 1500;

    static void drive(String version, Callable<?> call) throws Exception {
        Thread watch = new Thread(Driving::exitWithInput);
        watch.setDaemon(true);
        watch.start();
        System.out.println("version " + version);
        while (true) {
            try {
                call.call();
                System.out.println("done");
            } catch (Exception error) {
                System.out.println("failed " + error.getClass().getSimpleName());
            }
            Thread.sleep(PAUSE_MILLISECONDS);
        }
    }

    private static void exitWithInput() {
        try {
            while (System.in.read() >= 0) {
            }
        } catch (java.io.IOException error) {
            System.out.println("failed " + error.getClass().getSimpleName());
        }
        System.exit(0);
    }
}
