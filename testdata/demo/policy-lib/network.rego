# METADATA
# title: Networks
# description: What "open to the world" means to each cloud.
package terraform.lib.network

import rego.v1

anywhere := {"0.0.0.0/0", "::/0", "*", "Internet", "Any"}

open(sources) if {
	some source in sources
	source in anywhere
}

# Ports through which machines are administered, with the names people know.
admin_ports := {22: "SSH", 3389: "RDP", 5985: "WinRM", 5986: "WinRM"}

between(from, to, port) if {
	from <= port
	port <= to
}

# in_ranges holds where a port is in one of "22", "20-25" or "*".
in_ranges(ranges, _) if "*" in ranges

in_ranges(ranges, port) if {
	some range in ranges
	regex.match(`^[0-9]+$`, range)
	to_number(range) == port
}

in_ranges(ranges, port) if {
	some range in ranges
	regex.match(`^[0-9]+-[0-9]+$`, range)
	[from, to] := split(range, "-")
	between(to_number(from), to_number(to), port)
}
