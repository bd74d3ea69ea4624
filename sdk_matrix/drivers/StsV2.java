import java.net.URI;
import smfs.shaded.software.amazon.awssdk.core.util.VersionInfo;
import smfs.shaded.software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import smfs.shaded.software.amazon.awssdk.services.sts.StsClient;

/** AWS SDK for Java v2, in a jar that renames its packages: one STS client. */
final class StsV2 {
    public static void main(String[] arguments) throws Exception {
        StsClient client = StsClient.builder()
                .endpointOverride(URI.create(System.getenv("MATRIX_ENDPOINT")))
                .httpClient(UrlConnectionHttpClient.create())
                .build();
        Driving.drive(VersionInfo.SDK_VERSION, client::getCallerIdentity);
    }
}
