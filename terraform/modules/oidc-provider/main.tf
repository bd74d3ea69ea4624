# The OIDC provider, with which AWS accepts a cluster's tokens. Nothing connects to the issuer: it doesn't need to exist yet.

resource "aws_iam_openid_connect_provider" "this" {
  url             = var.issuer_url
  client_id_list  = var.audiences
  thumbprint_list = length(var.thumbprints) > 0 ? var.thumbprints : null
  tags            = var.tags
}
