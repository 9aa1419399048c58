"""The model server's image: the operator's repository, in the version that a Deployment keeps.

A Deployment names a version and never an image, since `fetch` runs from the same image with the store's credentials.
"""

_DIGEST = "sha256:"


def runtime_version_of(image: str) -> str:
    """Return the digest of an image reference, else its tag, else what an image without either means."""
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return digest or tag or "latest"


def image_of_version(server_image: str, version: str) -> str:
    """Return the operator's model server image in another version.

    Args:
        server_image: the operator's, such as `registry:5000/modelyard-server:0.1.0`.
        version: a tag, or a digest `sha256:…`.
    """
    name = server_image.partition("@")[0]
    folder, slash, last = name.rpartition("/")
    repository = folder + slash + last.partition(":")[0]
    return f"{repository}@{version}" if version.startswith(_DIGEST) else f"{repository}:{version}"
