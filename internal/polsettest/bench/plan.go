package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
)

// planBytes is about how large the plan of the part check is.
const planBytes = 5 << 20

// plan is a Terraform plan as terraform show -json tells it: the same one
// every time, of resources that the policies speak of and others.
func plan() ([]byte, error) {
	p := map[string]any{"format_version": "1.2", "terraform_version": "1.13.4", "applyable": true, "complete": true, "errored": false}
	var changes, planned, configured []any
	for i, size := 0, 0; size < planBytes; i++ {
		numbers := rand.New(random("resource", i))
		kind, attribute := guarded[i%len(guarded)][0], guarded[i%len(guarded)][1]
		if i%3 == 0 {
			kind, attribute = "aws_instance", "ebs_optimized"
		}
		module := fmt.Sprintf("module.team_%02d", i%17)
		after := attributes(numbers, attribute, i%5 != 0)
		change := map[string]any{
			"address": fmt.Sprintf("%s.%s.r%05d", module, kind, i), "module_address": module,
			"mode": "managed", "type": kind, "name": fmt.Sprintf("r%05d", i),
			"provider_name": "registry.terraform.io/hashicorp/aws",
			"change": map[string]any{
				"actions": actions(i), "before": nil, "after": after,
				"after_unknown":   map[string]any{"arn": true, "id": true, "tags_all": map[string]any{}},
				"after_sensitive": map[string]any{"tags": map[string]any{}, "tags_all": map[string]any{}},
			},
		}
		if i%2 == 0 {
			change["change"].(map[string]any)["before"] = attributes(numbers, attribute, true) //nolint:forcetypeassert // made above
		}
		changes = append(changes, change)
		planned = append(planned, map[string]any{
			"address": change["address"], "mode": "managed", "type": kind, "name": change["name"],
			"provider_name": change["provider_name"], "schema_version": 1, "values": after,
		})
		configured = append(configured, map[string]any{
			"address": kind + "." + fmt.Sprintf("r%05d", i), "mode": "managed", "type": kind, "name": change["name"],
			"provider_config_key": "aws", "schema_version": 1,
			"expressions": map[string]any{"tags": map[string]any{"references": []string{"var.tags", "local.owner"}}},
		})
		one, err := json.Marshal([]any{change, planned[i], configured[i]})
		if err != nil {
			return nil, fmt.Errorf("make a plan: %w", err)
		}
		size += len(one)
	}
	p["resource_changes"] = changes
	p["planned_values"] = map[string]any{"root_module": map[string]any{"resources": planned}}
	p["configuration"] = map[string]any{"root_module": map[string]any{"resources": configured}}
	raw, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("make a plan: %w", err)
	}
	return raw, nil
}

func actions(i int) []string {
	switch i % 7 {
	case 1, 2:
		return []string{"update"}
	case 3:
		return []string{"delete", "create"}
	case 4:
		return []string{"no-op"}
	}
	return []string{"create"}
}

// attributes are those of a resource, with the one that a policy asks for or
// without it.
func attributes(numbers *rand.Rand, asked string, given bool) map[string]any {
	a := map[string]any{
		"name": fmt.Sprintf("n-%012x", numbers.Uint64()>>16), "description": nil, "timeouts": nil,
		"size": numbers.IntN(1000), "weight": 0.25, "enabled": true,
		"tags":    map[string]any{"owner": fmt.Sprintf("team-%02d", numbers.IntN(17)), "cost-center": numbers.IntN(10_000)},
		"ingress": []any{map[string]any{"cidr_blocks": []string{"10.0.0.0/8"}, "from_port": 443, "to_port": 443, "protocol": "tcp"}},
	}
	if given {
		a[asked] = "set"
	}
	return a
}
