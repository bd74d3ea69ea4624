# The real provider plans. It makes no calls, because nothing has to be read.

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

variables {
  name   = "payments-api"
  region = "eu-west-1"
}

run "pod_of_one_cluster" {
  command = plan

  variables {
    clusters = {
      blue = {
        issuer_url   = "https://oidc.example/blue"
        provider_arn = "arn:aws:iam::123456789012:oidc-provider/oidc.example/blue"
      }
    }
    service_accounts         = [{ namespace = "payments", name = "api" }]
    inline_policies          = { objects = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Action = "s3:GetObject", Resource = "arn:aws:s3:::reports/*" }] }) }
    attached_policy_arns     = { read = "arn:aws:iam::aws:policy/ReadOnlyAccess" }
    permissions_boundary_arn = "arn:aws:iam::123456789012:policy/broker-role"
    path                     = "/workload/"
    chain_to                 = ["arn:aws:iam::210987654321:role/partner"]
    tags                     = { team = "blue" }
    max_session_seconds      = 7200
  }

  assert {
    condition = jsondecode(aws_iam_role.this.assume_role_policy) == {
      Version = "2012-10-17"
      Statement = [{
        Sid       = "TrustClusterBlue"
        Effect    = "Allow"
        Principal = { Federated = "arn:aws:iam::123456789012:oidc-provider/oidc.example/blue" }
        Action    = "sts:AssumeRoleWithWebIdentity"
        Condition = {
          StringEquals = {
            "oidc.example/blue:aud" = ["sts.amazonaws.com"]
            "oidc.example/blue:sub" = ["system:serviceaccount:payments:api"]
          }
        }
      }]
    }
    error_message = "The trust policy must restrict issuer, audience and subject."
  }

  assert {
    condition     = jsondecode(aws_iam_role_policy.chain[0].policy).Statement[0].Resource == ["arn:aws:iam::210987654321:role/partner"]
    error_message = "chain_to must become a policy on exactly these roles."
  }

  assert {
    condition     = aws_iam_role.this.path == "/workload/" && aws_iam_role.this.max_session_duration == 7200 && aws_iam_role.this.permissions_boundary == "arn:aws:iam::123456789012:policy/broker-role" && aws_iam_role.this.tags == tomap({ team = "blue" })
    error_message = "The role must have path, maximum session duration, boundary and tags."
  }

  assert {
    condition     = keys(aws_iam_role_policy.inline) == ["objects"] && aws_iam_role_policy_attachment.managed["read"].policy_arn == "arn:aws:iam::aws:policy/ReadOnlyAccess"
    error_message = "Inline policies must be created and managed policies attached."
  }
}

run "chained_role_and_its_profile" {
  command = plan

  override_resource {
    target          = aws_iam_role.this
    override_during = plan
    values          = { arn = "arn:aws:iam::210987654321:role/partner" }
  }

  variables {
    name = "partner"
    chained_from = {
      role_arns         = ["arn:aws:iam::123456789012:role/app"]
      external_id       = "example-7f3d"
      required_tags     = { team = "blue" }
      optional_tag_keys = ["stage"]
      source_identities = ["app"]
    }
  }

  assert {
    condition     = [for statement in jsondecode(output.trust_policy).Statement : statement.Action] == ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
    error_message = "Each action must have its own statement."
  }

  assert {
    condition = yamldecode(output.broker_profile) == [{
      name            = "partner"
      role_arn        = "arn:aws:iam::210987654321:role/partner"
      region          = "eu-west-1"
      source_profile  = "default"
      external_id     = "example-7f3d"
      tags            = { team = "blue" }
      source_identity = "app"
    }]
    error_message = "The profile must contain what the trust policy requires."
  }

  assert {
    condition     = length(output.broker_environment) == 0
    error_message = "A chained role must not have environment variables: it needs a profile."
  }

  assert {
    condition     = output.inject_options == "" && length(output.pod_annotations) == 0 && output.component_env == ""
    error_message = "A chained role must have nothing for inject and the component: it needs a profile."
  }
}

run "full_session_names_are_compared_literally" {
  command = plan

  variables {
    clusters = {
      blue = {
        issuer_url   = "https://oidc.example/blue"
        provider_arn = "arn:aws:iam::123456789012:oidc-provider/oidc.example/blue"
      }
    }
    service_accounts      = [{ namespace = "payments", name = "api" }]
    session_name_patterns = ["payments-api"]
  }

  assert {
    condition = jsondecode(output.trust_policy).Statement[0].Condition == {
      StringEquals = {
        "oidc.example/blue:aud" = ["sts.amazonaws.com"]
        "oidc.example/blue:sub" = ["system:serviceaccount:payments:api"]
        "sts:RoleSessionName"   = ["payments-api"]
      }
    }
    error_message = "Without a wildcard, the operator must be StringEquals."
  }
}

run "session_names_of_a_chained_role" {
  command = plan

  variables {
    chained_from = {
      role_arns   = ["arn:aws:iam::123456789012:role/app"]
      external_id = "example-7f3d"
    }
    session_name_patterns = ["payments.*", "batch"]
  }

  assert {
    condition = jsondecode(output.trust_policy).Statement[0].Condition == {
      StringEquals = { "sts:ExternalId" = "example-7f3d" }
      StringLike   = { "sts:RoleSessionName" = ["payments.*", "batch"] }
    }
    error_message = "Patterns must use StringLike, and the external ID StringEquals."
  }
}

run "full_session_names_of_a_chained_role" {
  command = plan

  variables {
    chained_from          = { role_arns = ["arn:aws:iam::123456789012:role/app"] }
    session_name_patterns = ["batch"]
  }

  assert {
    condition     = jsondecode(output.trust_policy).Statement[0].Condition == { StringEquals = { "sts:RoleSessionName" = ["batch"] } }
    error_message = "Without a wildcard, the operator must be StringEquals."
  }
}

run "role_that_nobody_can_assume" {
  command = plan

  expect_failures = [var.chained_from]
}

run "too_long_trust_policy_fails_the_check" {
  command = plan

  variables {
    clusters = {
      blue = {
        issuer_url   = "https://oidc.example/blue"
        provider_arn = "arn:aws:iam::123456789012:oidc-provider/oidc.example/blue"
      }
    }
    service_accounts = [for number in range(60) : { namespace = "payments", name = "api-${number}" }]
  }

  expect_failures = [check.trust_policy_fits]
}
