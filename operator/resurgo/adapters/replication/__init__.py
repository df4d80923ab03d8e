"""One package per storage system, none of which knows another; `contract` finds them by the type users write."""
