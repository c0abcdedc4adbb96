"""QEMU guests through libvirt, with KVM where it really runs and TCG elsewhere."""
