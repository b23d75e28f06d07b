export DEBIAN_NODE_PACKAGES="${DEBIAN_NODE_PACKAGES:-} linux-image-cloud-$ARCH grub-pc zstd"
# The boot loader's packages are there from the start.
export DIB_SKIP_GRUB_PACKAGE_INSTALL=True
export DIB_GRUB_TIMEOUT=${DIB_GRUB_TIMEOUT:-0}
export DIB_BOOTLOADER_DEFAULT_CMDLINE=${DIB_BOOTLOADER_DEFAULT_CMDLINE:-quiet net.ifnames=0 mitigations=off fsck.mode=skip}
