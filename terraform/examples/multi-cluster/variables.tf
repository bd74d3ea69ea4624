variable "region" {
  description = "Region of the workload. The broker calls STS in this Region."
  type        = string
  default     = "eu-west-1"
}

variable "issuer_urls" {
  description = "Issuer URLs of the clusters, by cluster name."
  type        = map(string)
}

variable "queue_arns" {
  description = "ARNs of the queues that the workload consumes."
  type        = list(string)
}

variable "key_arns" {
  description = "ARNs of the KMS keys that encrypt the queues."
  type        = list(string)
}
