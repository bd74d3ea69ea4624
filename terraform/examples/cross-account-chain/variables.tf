variable "region" {
  description = "Region of the workload, whose STS the broker calls."
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
  description = "Profile of your AWS configuration that manages IAM in the partner's account. Null: the environment's credentials."
  type        = string
  default     = null
}

variable "external_id" {
  description = "What the partner wants to hear: agree on it with them. It is no secret, yet not to be guessed."
  type        = string
}
