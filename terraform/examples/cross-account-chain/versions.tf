terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.81, < 7.0"
    }
  }
}

# The account of the cluster.
provider "aws" {
  region = var.region
}

# The partner's account: through one of your profiles, or through other credentials that manage its IAM.
provider "aws" {
  alias   = "partner"
  region  = var.region
  profile = var.partner_profile
}
