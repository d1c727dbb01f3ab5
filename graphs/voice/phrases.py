"""What Weft itself says on the telephone, in the languages it speaks, and the words it takes for yes and no."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrases:
    yes: frozenset[str]
    no: frozenset[str]
    yes_or_no: str
    choice: str  # {key}, {choice}
    number: str
    again: str
    bye: str
    sorry: str  # nothing was understood, often enough
    settled: str  # somebody else has answered, or nobody asks any more


ENGLISH = Phrases(
    yes=frozenset({"yes", "yeah", "yep", "sure", "okay", "ok", "correct", "right", "true"}),
    no=frozenset({"no", "nope", "not", "wrong", "false", "never"}),
    yes_or_no="Press 1 for yes or 2 for no.",
    choice="For {choice}, press {key}.",
    number="Enter the number, then press the hash key. The star key is the decimal point.",
    again="Sorry, that was not understood.",
    bye="Thank you. Goodbye.",
    sorry="Sorry, that was not understood. Goodbye.",
    settled="This has been taken care of in the meantime. Thank you, goodbye.",
)
SPOKEN = {
    "en": ENGLISH,
    "de": Phrases(
        yes=frozenset({"ja", "jawohl", "klar", "gerne", "okay", "ok", "richtig", "stimmt"}),
        no=frozenset({"nein", "nee", "nicht", "falsch"}),
        yes_or_no="Für ja drücken Sie die 1, für nein die 2.",
        choice="Für {choice} drücken Sie die {key}.",
        number="Geben Sie die Zahl ein und drücken Sie dann die Rautetaste. Die Sterntaste ist das Komma.",
        again="Das habe ich leider nicht verstanden.",
        bye="Vielen Dank. Auf Wiederhören.",
        sorry="Das habe ich leider nicht verstanden. Auf Wiederhören.",
        settled="Das hat sich inzwischen erledigt. Vielen Dank, auf Wiederhören.",
    ),
    "fr": Phrases(
        yes=frozenset({"oui", "ouais", "accord", "exact", "ok"}),
        no=frozenset({"non", "pas", "faux"}),
        yes_or_no="Pour oui, appuyez sur 1. Pour non, appuyez sur 2.",
        choice="Pour {choice}, appuyez sur {key}.",
        number="Entrez le nombre, puis appuyez sur dièse. L'étoile est la virgule.",
        again="Désolé, je n'ai pas compris.",
        bye="Merci. Au revoir.",
        sorry="Désolé, je n'ai pas compris. Au revoir.",
        settled="Cela a été réglé entre-temps. Merci, au revoir.",
    ),
    "es": Phrases(
        yes=frozenset({"sí", "si", "claro", "vale", "correcto", "ok"}),
        no=frozenset({"no", "nunca", "incorrecto"}),
        yes_or_no="Para sí, pulse 1. Para no, pulse 2.",
        choice="Para {choice}, pulse {key}.",
        number="Marque el número y después pulse almohadilla. El asterisco es la coma.",
        again="Lo siento, no lo he entendido.",
        bye="Gracias. Adiós.",
        sorry="Lo siento, no lo he entendido. Adiós.",
        settled="Esto ya se ha resuelto entretanto. Gracias, adiós.",
    ),
}


def phrases(language: str) -> Phrases:
    """English where Weft does not speak the language."""
    return SPOKEN.get(language.partition("-")[0].lower(), ENGLISH)
