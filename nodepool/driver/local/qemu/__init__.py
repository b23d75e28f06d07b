"""Local machines of the kind ``qemu``: virtual machines, run directly, with no libvirt and no root."""
