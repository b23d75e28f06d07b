"""The part of ``nodepool``'s command line that is about disk images (spec cli 2)."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from nodepool.admin import image_commands, image_views, listing
from nodepool.admin.lists import show_list
from nodepool.admin.operator import Operator
from nodepool.cmd import list_options
from nodepool.model.states import BuildState, UploadState

AddCommand = Callable[..., argparse.ArgumentParser]
"""Adds a command: its name, a summary, and whether it can write JSON (``as_json``)."""


def add(command: AddCommand) -> None:
    """Add the commands."""
    _add_lists(command)
    building = command("image-build", "have an image built")
    building.add_argument("image", metavar="IMAGE")
    for name, summary in (("image-pause", "stop builds of an image"), ("image-unpause", "allow builds again")):
        command(name, summary).add_argument("image", metavar="IMAGE")
    upload = command("image-delete", "have an upload deleted")
    for option, meaning in (
        ("provider", "name of the provider"),
        ("image", "name of the image"),
        ("build-id", "Build ID, as image-list shows it"),
        ("upload-id", "Upload ID, as image-list shows it"),
    ):
        upload.add_argument(f"--{option}", metavar=option.upper(), required=True, help=meaning)
    build = command("dib-image-delete", "have a build deleted, with its files and all its uploads")
    build.add_argument("id", metavar="ID", help="ID, as dib-image-list shows it")
    log = command("image-log", "show the log of the running or last build; on the machine of its builder")
    log.add_argument("image", metavar="IMAGE")
    log.add_argument("-f", action="store_true", dest="follow", help="follow the build until it ends")
    saving = command("export-image-data", "save builds, uploads and pause flags to a file")
    saving.add_argument("path", metavar="PATH")
    restoring = command("import-image-data", "bring them back; no builder may run")
    restoring.add_argument("path", metavar="PATH")


def perform(options: argparse.Namespace, operator: Operator) -> None:
    """Run the command that was chosen, if it is one of these."""
    match options.command:
        case "image-list":
            columns = {"provider": "provider", "image": "image", "state": "state"}
            show_list(operator, listing.uploads(), list_options.asked(options, operator.config, columns))
        case "dib-image-list":
            columns = {"image": "image", "state": "state"}
            show_list(operator, listing.builds(), list_options.asked(options, operator.config, columns))
        case "image-status":
            image_commands.show_status(operator, detail=options.detail, as_json=options.json)
        case "image-build":
            image_commands.build(operator, options.image)
        case "image-pause":
            image_commands.pause(operator, options.image)
        case "image-unpause":
            image_commands.unpause(operator, options.image)
        case "image-delete":
            image_commands.delete_upload(
                operator,
                provider=options.provider,
                image=options.image,
                build_id=options.build_id,
                upload_id=options.upload_id,
            )
        case "dib-image-delete":
            image_commands.delete_build(operator, options.id)
        case "alien-image-list":
            image_commands.list_aliens(operator, options.provider, as_json=options.json)
        case "image-log":
            image_commands.show_log(operator, options.image, follow=options.follow)
        case "export-image-data":
            image_commands.export_data(operator, options.path)
        case "import-image-data":
            image_commands.import_data(operator, options.path)


def _add_lists(command: AddCommand) -> None:
    uploads = command("image-list", "show all uploads of images", as_json=True)
    list_options.add(uploads, "provider", "image", states=UploadState)
    builds = command("dib-image-list", "show all builds of images", as_json=True)
    list_options.add(builds, "image", states=(*BuildState, image_views.PAUSED))
    status = command("image-status", "show which images are paused or to be built", as_json=True)
    status.add_argument("--detail", action="store_true", help="also show what builders put off after failures")
    aliens = command("alien-image-list", "show images in the clouds that Nodepool has made and forgotten", as_json=True)
    aliens.add_argument("provider", metavar="PROVIDER", nargs="?", help="only this one (default: all)")
