# What tells AWS to believe a cluster's tokens. Nothing here asks the issuer: it need not be up yet.

resource "aws_iam_openid_connect_provider" "this" {
  url             = var.issuer_url
  client_id_list  = var.audiences
  thumbprint_list = length(var.thumbprints) > 0 ? var.thumbprints : null
  tags            = var.tags
}
