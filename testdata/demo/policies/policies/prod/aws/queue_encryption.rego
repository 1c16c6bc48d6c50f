# METADATA
# title: Queues and topics are encrypted
package terraform.policies.aws_queue_encryption

import data.terraform.lib.plan
import rego.v1

deny contains msg if {
	some queue in plan.of_type("aws_sqs_queue")
	not plan.value(queue, "sqs_managed_sse_enabled", true)
	plan.value(queue, "kms_master_key_id", "") == ""
	not plan.unknown(queue, "kms_master_key_id")
	msg := sprintf("%s: keep sqs_managed_sse_enabled, or name a KMS key", [queue.address])
}

deny contains msg if {
	some topic in plan.of_type("aws_sns_topic")
	plan.value(topic, "kms_master_key_id", "") == ""
	not plan.unknown(topic, "kms_master_key_id")
	msg := sprintf("%s: name a KMS key", [topic.address])
}
