"""The documents that `register` writes beside a record, all of them derived from it. Pure."""

from collections.abc import Mapping
from typing import Final

from modelyard.lineage.documents import bill_of_materials, model_card, openlineage, provenance
from modelyard.lineage.documents.subject import Subject

PROVENANCE_FILE: Final = "provenance.json"
BILL_OF_MATERIALS_FILE: Final = "bom.json"
MODEL_CARD_FILE: Final = "card.md"
OPENLINEAGE_FILE: Final = "openlineage.jsonl"


def documents(subject: Subject) -> Mapping[str, str]:
    """Return each document's text by its file name; the same subject gives the same bytes."""
    return {
        PROVENANCE_FILE: provenance.render(subject),
        BILL_OF_MATERIALS_FILE: bill_of_materials.render(subject),
        MODEL_CARD_FILE: model_card.render(subject),
        OPENLINEAGE_FILE: openlineage.render(subject),
    }


__all__ = ["Subject", "documents"]
