variable "region" {
  description = "Region of the workload, whose STS the broker calls."
  type        = string
  default     = "eu-west-1"
}

variable "issuer_urls" {
  description = "The clusters' issuers by the clusters' names."
  type        = map(string)
}

variable "queue_arns" {
  description = "Queues that the workload consumes."
  type        = list(string)
}

variable "key_arns" {
  description = "KMS keys that the queues are encrypted with."
  type        = list(string)
}
