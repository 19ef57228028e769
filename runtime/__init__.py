"""The heartbeat: sense, act, watch, recover, record. Knows ports, never who implements them."""
