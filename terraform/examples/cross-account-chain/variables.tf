variable "region" {
  description = "Region of the workload. The broker calls STS in this Region."
  type        = string
  default     = "eu-west-1"
}

variable "issuer_url" {
  description = "The cluster's issuer."
  type        = string
}

variable "partner_account_id" {
  description = "The partner's account."
  type        = string
}

variable "partner_profile" {
  description = "Profile of your AWS configuration that manages IAM in the partner's account. Null: the credentials of the environment."
  type        = string
  default     = null
}

variable "external_id" {
  description = "External ID that you agreed on with the partner. It isn't a secret, but it must be hard to guess."
  type        = string
}
