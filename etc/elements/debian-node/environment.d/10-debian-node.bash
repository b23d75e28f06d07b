# What other elements ask of an operating system.
export DISTRO_NAME=debian
export DIB_INIT_SYSTEM=systemd
export EFI_BOOT_DIR=EFI/debian
# shellcheck disable=SC1091
DIB_RELEASE=${DIB_RELEASE:-$(. /etc/os-release && echo "${VERSION_CODENAME:-}")}
export DIB_RELEASE
