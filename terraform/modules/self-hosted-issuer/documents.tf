# The two documents that STS fetches. `sts-broker issuer render` writes the same. They contain only public members of keys.

locals {
  discovery_path = ".well-known/openid-configuration"
  keys_path      = "keys.json"

  public_members = ["alg", "crv", "e", "kid", "kty", "n", "use", "x", "y"]
  published_keys = [
    for key in var.signing_keys : merge({ use = "sig" }, { for member, value in key : member => value if contains(local.public_members, member) })
  ]

  keys_document = jsonencode({ keys = local.published_keys })
  algorithms    = sort(distinct([for key in local.published_keys : key.alg]))
}
