# AWS SDK for Ruby: one STS client.
require "aws-sdk-core"
require "io/wait"

$stdout.sync = true
client = Aws::STS::Client.new(endpoint: ENV.fetch("MATRIX_ENDPOINT"))
puts "version #{Aws::CORE_GEM_VERSION}"
loop do
  begin
    client.get_caller_identity
    puts "done"
  rescue StandardError => error
    puts "failed #{error.class}"
  end
  break if $stdin.wait_readable(1.5)
end
