variable "issuer_url" {
  description = "The cluster's issuer. It must equal the `iss` claim of its tokens exactly."
  type        = string
  nullable    = false

  validation {
    condition     = startswith(var.issuer_url, "https://")
    error_message = "issuer_url must begin with https://: AWS accepts no other scheme. Write https://oidc.example/cluster."
  }

  validation {
    condition     = !can(regex("^[a-z]+://[^/]*:[0-9]*(/|$)", var.issuer_url))
    error_message = "issuer_url must not contain a port: AWS rejects ports, even :443. Serve the issuer on port 443 and omit the port, also in the API server's --service-account-issuer."
  }

  validation {
    condition     = !endswith(var.issuer_url, "/")
    error_message = "issuer_url must not end with a slash: AWS compares it with the tokens' iss claim exactly. If that claim ends with a slash, change the API server's --service-account-issuer first."
  }

  validation {
    condition     = can(regex("^[a-z]+://[A-Za-z0-9.-]+(:[0-9]*)?(/[A-Za-z0-9._~%/-]*)?$", var.issuer_url))
    error_message = "issuer_url must be a host with an optional path, without query, fragment, user or spaces. Write https://oidc.example/cluster."
  }

  validation {
    condition     = length(var.issuer_url) <= 255
    error_message = "issuer_url must have at most 255 characters. Choose a shorter path for the issuer."
  }
}

variable "audiences" {
  description = "Audiences of this issuer's tokens that AWS accepts. Each role requires one of them. The default is right in every partition, also in China, unless your tokens have another audience."
  type        = list(string)
  default     = ["sts.amazonaws.com"]
  nullable    = false

  validation {
    condition     = length(var.audiences) >= 1 && length(var.audiences) <= 100 && length(distinct(var.audiences)) == length(var.audiences)
    error_message = "audiences must list 1 to 100 different audiences. Write [\"sts.amazonaws.com\"]."
  }

  validation {
    condition     = alltrue([for audience in var.audiences : can(regex("^[!-~]{1,255}$", audience)) && !can(regex("[*?$]", audience))])
    error_message = "audiences must have 1 to 255 printable characters each, without spaces, *, ? and $, which have a special meaning in policies. Write [\"sts.amazonaws.com\"]."
  }
}

variable "thumbprints" {
  description = "SHA-1 fingerprints of the CA certificates of the issuer's key server. Leave it empty for a public CA: AWS uses thumbprints for private CAs only."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = length(var.thumbprints) <= 5 && alltrue([for print in var.thumbprints : can(regex("^[0-9a-f]{40}$", print))])
    error_message = "thumbprints must be at most 5, each with 40 lower-case hexadecimal digits, without colons. Leave it empty for a public CA."
  }
}

variable "tags" {
  description = "Tags of the provider."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = length(var.tags) <= 50 && alltrue([for key in keys(var.tags) : !startswith(lower(key), "aws:")])
    error_message = "tags must be at most 50, and no key can begin with aws:. Write { team = \"blue\" }."
  }
}
