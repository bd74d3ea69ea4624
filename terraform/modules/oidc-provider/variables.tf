variable "issuer_url" {
  description = "The cluster's issuer: the `iss` of its tokens, to the letter."
  type        = string
  nullable    = false

  validation {
    condition     = startswith(var.issuer_url, "https://")
    error_message = "issuer_url must begin with https://, as AWS takes no other. Write https://oidc.example/cluster."
  }

  validation {
    condition     = !can(regex("^[a-z]+://[^/]*:[0-9]*(/|$)", var.issuer_url))
    error_message = "issuer_url must have no port, as AWS refuses them, even :443. Serve the issuer on 443 and leave the port out, in the API server's --service-account-issuer too."
  }

  validation {
    condition     = !endswith(var.issuer_url, "/")
    error_message = "issuer_url must not end with a slash: AWS compares it with the tokens' iss letter by letter. If the tokens' iss does end with one, change the API server's --service-account-issuer first."
  }

  validation {
    condition     = can(regex("^[a-z]+://[A-Za-z0-9.-]+(:[0-9]*)?(/[A-Za-z0-9._~%/-]*)?$", var.issuer_url))
    error_message = "issuer_url must be a host and perhaps a path, without query, fragment, user or blanks. Write https://oidc.example/cluster."
  }

  validation {
    condition     = length(var.issuer_url) <= 255
    error_message = "issuer_url must have 255 characters at most. Choose a shorter path for the issuer."
  }
}

variable "audiences" {
  description = "Audiences that AWS accepts of this issuer's tokens. Each role pins its own among them. It is the same in every partition, China's too, unless your tokens say otherwise."
  type        = list(string)
  default     = ["sts.amazonaws.com"]
  nullable    = false

  validation {
    condition     = length(var.audiences) >= 1 && length(var.audiences) <= 100 && length(distinct(var.audiences)) == length(var.audiences)
    error_message = "audiences must list 1 to 100 audiences, each once. Write [\"sts.amazonaws.com\"]."
  }

  validation {
    condition     = alltrue([for audience in var.audiences : can(regex("^[!-~]{1,255}$", audience)) && !can(regex("[*?$]", audience))])
    error_message = "audiences must be 1 to 255 printable characters each, without blanks and without *, ? and $, which mean more than themselves in policies. Write [\"sts.amazonaws.com\"]."
  }
}

variable "thumbprints" {
  description = "SHA-1 fingerprints of the CA certificates of the issuer's key server. Leave it empty: AWS knows the public CAs, and looks at these for a private CA only."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = length(var.thumbprints) <= 5 && alltrue([for print in var.thumbprints : can(regex("^[0-9a-f]{40}$", print))])
    error_message = "thumbprints must be 5 at most, each of 40 hexadecimal digits in lower case, without colons. With a public CA, leave it empty."
  }
}

variable "tags" {
  description = "Tags of the provider."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = length(var.tags) <= 50 && alltrue([for key in keys(var.tags) : !startswith(lower(key), "aws:")])
    error_message = "tags must be 50 at most, and no key may begin with aws:. Write { team = \"blue\" }."
  }
}
