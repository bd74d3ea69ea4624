terraform {
  required_version = ">= 1.9" # validations can refer to other variables

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.81, < 7.0" # thumbprints are optional since 5.81
    }
  }
}
