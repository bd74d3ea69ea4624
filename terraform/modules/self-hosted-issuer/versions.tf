terraform {
  required_version = ">= 1.9" # validations may look at other variables

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.81, < 7.0" # before 5.81, thumbprints were not optional
    }
  }
}
