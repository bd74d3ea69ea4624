# The real provider plans; it calls nobody, as there is nothing to read.

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
    error_message = "The trust policy must pin issuer, audience and subject."
  }

  assert {
    condition     = jsondecode(aws_iam_role_policy.chain[0].policy).Statement[0].Resource == ["arn:aws:iam::210987654321:role/partner"]
    error_message = "chain_to must become a policy on these roles alone."
  }

  assert {
    condition     = aws_iam_role.this.path == "/workload/" && aws_iam_role.this.max_session_duration == 7200 && aws_iam_role.this.permissions_boundary == "arn:aws:iam::123456789012:policy/broker-role" && aws_iam_role.this.tags == tomap({ team = "blue" })
    error_message = "Path, longest session, boundary and tags must be passed on."
  }

  assert {
    condition     = keys(aws_iam_role_policy.inline) == ["objects"] && aws_iam_role_policy_attachment.managed["read"].policy_arn == "arn:aws:iam::aws:policy/ReadOnlyAccess"
    error_message = "Policies must be made and attached."
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
    error_message = "Each action needs a statement of its own."
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
    error_message = "The profile must hold what the trust policy demands."
  }

  assert {
    condition     = length(output.broker_environment) == 0
    error_message = "A chained role cannot be told by the environment."
  }
}

run "session_names_in_full_are_compared_literally" {
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
    error_message = "Nothing is wild here, so nothing may be compared as if it were."
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
    error_message = "Patterns need StringLike, the external id does not."
  }
}

run "session_names_in_full_of_a_chained_role" {
  command = plan

  variables {
    chained_from          = { role_arns = ["arn:aws:iam::123456789012:role/app"] }
    session_name_patterns = ["batch"]
  }

  assert {
    condition     = jsondecode(output.trust_policy).Statement[0].Condition == { StringEquals = { "sts:RoleSessionName" = ["batch"] } }
    error_message = "Nothing is wild here, so nothing may be compared as if it were."
  }
}

run "role_that_nobody_could_take" {
  command = plan

  expect_failures = [var.chained_from]
}

run "trust_policy_that_is_too_long_is_told" {
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
