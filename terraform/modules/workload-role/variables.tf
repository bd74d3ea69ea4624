variable "name" {
  description = "Name of the role."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_+=,.@-]{1,64}$", var.name))
    error_message = "name must have 1 to 64 letters, digits and any of _+=,.@-. Write payments-api."
  }
}

variable "clusters" {
  description = "Clusters whose service accounts can assume the role, by a name of letters and digits. Each value is the output `cluster` of the module oidc-provider. `service_accounts` in a value replaces the common list for this cluster. Empty for a chained role."
  type = map(object({
    issuer_url       = string
    provider_arn     = string
    service_accounts = optional(list(object({ namespace = string, name = string })))
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for name, cluster in var.clusters : can(regex("^[A-Za-z][A-Za-z0-9]{0,63}$", name))])
    error_message = "clusters must have names of a letter and up to 63 letters and digits: the name is part of a Sid. Write blue, or euWest1."
  }

  validation {
    condition     = length(distinct([for name, cluster in var.clusters : lower(name)])) == length(var.clusters) && length(distinct([for name, cluster in var.clusters : cluster.issuer_url])) == length(var.clusters)
    error_message = "clusters must have different names and different issuers. Clusters that share an issuer are one cluster to AWS: it accepts the tokens of either for both. Give each cluster its own issuer."
  }

  validation {
    condition     = alltrue([for name, cluster in var.clusters : can(regex("^https://[A-Za-z0-9.-]+(/[A-Za-z0-9._~%/-]*[^/])?$", cluster.issuer_url))])
    error_message = "clusters: each issuer_url must be the tokens' iss claim: https://, a host and an optional path, without a port or a trailing slash. Write https://oidc.example/cluster."
  }

  validation {
    condition     = alltrue([for name, cluster in var.clusters : can(regex("^arn:[a-z0-9-]+:iam::[0-9]{12}:oidc-provider/", cluster.provider_arn)) && endswith(cluster.provider_arn, ":oidc-provider/${trimprefix(cluster.issuer_url, "https://")}")])
    error_message = "clusters: each provider_arn must be the ARN of the IAM OIDC provider for the same issuer_url. Take both from the output cluster of the module oidc-provider."
  }

  validation {
    condition = alltrue(flatten([for name, cluster in var.clusters : [for account in coalesce(cluster.service_accounts, []) :
      can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", account.namespace)) && can(regex("^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$", account.name))
    ]]))
    error_message = "clusters: service_accounts must be valid Kubernetes names of a namespace and a service account, without wildcards. Write { namespace = \"payments\", name = \"api\" }."
  }
}

variable "audience" {
  description = "Audience that tokens must have. It must be registered at the provider. Clusters in China use the default too, unless they are configured otherwise."
  type        = string
  default     = "sts.amazonaws.com"
  nullable    = false

  validation {
    condition     = can(regex("^[!-~]{1,255}$", var.audience)) && !can(regex("[*?$]", var.audience))
    error_message = "audience must have 1 to 255 printable characters, without spaces, *, ? and $: the policy compares it literally. Write sts.amazonaws.com."
  }
}

variable "service_accounts" {
  description = "Service accounts that can assume the role, in every cluster of `clusters` that lists none itself."
  type        = list(object({ namespace = string, name = string }))
  default     = []
  nullable    = false

  validation {
    condition = alltrue([for account in var.service_accounts :
      can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", account.namespace)) && can(regex("^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$", account.name))
    ])
    error_message = "service_accounts must be valid Kubernetes names of a namespace and a service account, without wildcards. Write [{ namespace = \"payments\", name = \"api\" }]."
  }

  validation {
    condition = alltrue([for name, cluster in var.clusters :
      length(coalesce(cluster.service_accounts, var.service_accounts)) + length(var.namespaces_whose_every_service_account_is_trusted) > 0
    ])
    error_message = "service_accounts must not be empty for a cluster that lists none itself: nobody could assume the role. Write [{ namespace = \"payments\", name = \"api\" }]."
  }
}

variable "namespaces_whose_every_service_account_is_trusted" {
  description = "Namespaces in which every service account, including future ones, can assume the role, in every cluster. Anyone who can create a pod in such a namespace can assume the role. Leave it empty unless you want exactly that."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for namespace in var.namespaces_whose_every_service_account_is_trusted : can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", namespace))])
    error_message = "namespaces_whose_every_service_account_is_trusted must be names of namespaces, without wildcards: a role can't trust all namespaces. Write [\"payments\"]."
  }
}

variable "session_name_patterns" {
  description = "Patterns (`*`, `?`) for the session name, which must match one of them. The broker's default name is `namespace.pod`. Empty: any name."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for pattern in var.session_name_patterns : can(regex("^[A-Za-z0-9_+=,.@*?-]{2,64}$", pattern)) && !can(regex("^[*?]+$", pattern))])
    error_message = "session_name_patterns must have 2 to 64 letters, digits and any of _+=,.@-*? each, and not only wildcards. Write [\"payments.api-*\"]."
  }
}

variable "chained_from" {
  description = "For a chained role: the roles that can assume this one, the external ID and session tags (key to value) that they must pass, further tag keys that they can pass, and source identities that they can set. The roles must exist."
  type = object({
    role_arns         = list(string)
    external_id       = optional(string)
    required_tags     = optional(map(string), {})
    optional_tag_keys = optional(list(string), [])
    source_identities = optional(list(string), [])
  })
  default = null

  validation {
    condition     = (var.chained_from == null) != (length(var.clusters) == 0)
    error_message = "chained_from or clusters must be set, but not both: with both, a pod could assume the role without external ID and tags. Make a separate role for each."
  }

  validation {
    condition     = var.chained_from == null ? true : length(var.chained_from.role_arns) >= 1 && alltrue([for arn in var.chained_from.role_arns : can(regex("^arn:[a-z0-9-]+:iam::[0-9]{12}:role/[!-~]{1,900}$", arn)) && !can(regex("[*?$]", arn))])
    error_message = "chained_from: role_arns must be ARNs of roles, without wildcards, and not of sessions (assumed-role), users or accounts. Write [\"arn:aws:iam::123456789012:role/app\"]."
  }

  validation {
    condition     = try(var.chained_from.external_id, null) == null ? true : can(regex("^[A-Za-z0-9_+=,.@:/-]+$", var.chained_from.external_id)) && length(var.chained_from.external_id) >= 2 && length(var.chained_from.external_id) <= 1224
    error_message = "chained_from: external_id must have 2 to 1,224 letters, digits and any of _+=,.@:/-. Write example-7f3d."
  }

  validation {
    condition = var.chained_from == null ? true : length(concat(keys(var.chained_from.required_tags), var.chained_from.optional_tag_keys)) <= 50 && alltrue([
      for text in concat(keys(var.chained_from.required_tags), var.chained_from.optional_tag_keys) : can(regex("^[A-Za-z0-9 _.:/=+@-]{1,128}$", text)) && !startswith(lower(text), "aws:")
    ]) && alltrue([for text in values(var.chained_from.required_tags) : can(regex("^[A-Za-z0-9 _.:/=+@-]{0,256}$", text))])
    error_message = "chained_from: tags must be at most 50, with keys of 1 to 128 and values of up to 256 letters, digits, spaces and any of _.:/=+@-, without wildcards and without keys that begin with aws:. Write { team = \"blue\" }."
  }

  validation {
    condition     = var.chained_from == null ? true : alltrue([for identity in var.chained_from.source_identities : can(regex("^[A-Za-z0-9_+=,.@-]{2,64}$", identity))])
    error_message = "chained_from: source_identities must have 2 to 64 letters, digits and any of _+=,.@- each, without wildcards. Write [\"app\"]."
  }
}

variable "chain_to" {
  description = "ARNs of the roles that this role can assume, also in other accounts. They don't need to exist yet."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.chain_to : can(regex("^arn:[a-z0-9-]+:iam::[0-9]{12}:role/[!-~]{1,900}$", arn)) && !can(regex("[*?$]", arn))])
    error_message = "chain_to must be ARNs of roles, without wildcards. Write [\"arn:aws:iam::210987654321:role/partner\"]."
  }
}

variable "inline_policies" {
  description = "Inline policies of the role, as JSON texts by name. `iam-policies/permissions` has templates. The name `chain` is reserved for `chain_to`."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name, text in var.inline_policies : can(regex("^[A-Za-z0-9_+=,.@-]{1,128}$", name)) && name != "chain"])
    error_message = "inline_policies must have names of 1 to 128 letters, digits and any of _+=,.@-, and not chain. Write { objects = jsonencode({ … }) }."
  }

  validation {
    condition     = alltrue([for name, text in var.inline_policies : can(jsondecode(text).Statement)])
    error_message = "inline_policies must be JSON texts with a Statement. Write { objects = jsonencode({ Version = \"2012-10-17\", Statement = [ … ] }) }."
  }
}

variable "attached_policy_arns" {
  description = "ARNs of managed policies to attach, by a name of your choice. The names allow ARNs that are known only after the apply."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name, arn in var.attached_policy_arns : can(regex("^arn:[a-z0-9-]+:iam::([0-9]{12}|aws):policy/[!-~]+$", arn))])
    error_message = "attached_policy_arns must be ARNs of managed policies. Write { read = \"arn:aws:iam::aws:policy/ReadOnlyAccess\" }."
  }
}

variable "permissions_boundary_arn" {
  description = "ARN of the permissions boundary. `iam-policies/boundaries` has a template. Null: no boundary."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null ? true : can(regex("^arn:[a-z0-9-]+:iam::([0-9]{12}|aws):policy/[!-~]+$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn must be the ARN of a managed policy. Write arn:aws:iam::123456789012:policy/broker-role."
  }
}

variable "path" {
  description = "Path of the role. Guardrails can match it."
  type        = string
  default     = "/"
  nullable    = false

  validation {
    condition     = can(regex("^/([!-.0-~]+/)*$", var.path)) && length(var.path) <= 512
    error_message = "path must begin and end with a slash. Write /workload/."
  }
}

variable "description" {
  description = "Description of the role. Null: a default text."
  type        = string
  default     = null

  validation {
    condition     = var.description == null ? true : length(var.description) <= 1000
    error_message = "description must have at most 1,000 characters. Write one sentence."
  }
}

variable "max_session_seconds" {
  description = "Maximum session duration of the role, in seconds. A chained session always lasts at most one hour."
  type        = number
  default     = 3600
  nullable    = false

  validation {
    condition     = var.max_session_seconds >= 3600 && var.max_session_seconds <= 43200 && floor(var.max_session_seconds) == var.max_session_seconds
    error_message = "max_session_seconds must be a whole number from 3600 to 43200 (1 to 12 hours). Write 3600."
  }
}

variable "session_seconds" {
  description = "Duration of the broker's sessions, in seconds, for its settings."
  type        = number
  default     = 3600
  nullable    = false

  validation {
    condition     = var.session_seconds >= 900 && floor(var.session_seconds) == var.session_seconds && var.session_seconds <= var.max_session_seconds
    error_message = "session_seconds must be a whole number from 900 to max_session_seconds. Write 3600, or raise max_session_seconds."
  }

  validation {
    condition     = var.chained_from == null || var.session_seconds <= 3600
    error_message = "session_seconds must be at most 3600 for a chained role: AWS limits chained sessions to one hour. Write 3600."
  }
}

variable "region" {
  description = "Region in which the broker calls STS, for its settings."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2,8}(-[a-z]+)+-[0-9]+$", var.region))
    error_message = "region must be the name of a Region. Write eu-west-1."
  }
}

variable "profile_name" {
  description = "Name of the broker's profile for this role. Null: the role's name."
  type        = string
  default     = null

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", coalesce(var.profile_name, "default")))
    error_message = "profile_name must begin with a letter or digit, followed by up to 63 letters, digits and any of _.-. Write default."
  }

  validation {
    condition     = var.profile_name != null || can(regex("^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", var.name))
    error_message = "profile_name must be set, because the name of this role isn't a valid profile name. Write default."
  }
}

variable "source_profile" {
  description = "For a chained role: name of the broker's profile with whose credentials the broker assumes it."
  type        = string
  default     = "default"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", var.source_profile))
    error_message = "source_profile must be the name of another profile of the broker. Write default."
  }
}

variable "tags" {
  description = "Tags of the role."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = length(var.tags) <= 50 && alltrue([for key in keys(var.tags) : !startswith(lower(key), "aws:")])
    error_message = "tags must be at most 50, and no key can begin with aws:. Write { team = \"blue\" }."
  }
}
