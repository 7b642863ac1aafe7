"""What tills write where there is no customer."""

from __future__ import annotations

from typing import Final

_WITHOUT: Final = (
    "no|not|non|n[aã]o|sin|sem|sans|senza|ohne|keine?|geen|zonder|utan|uden|uten|ingen|aucune?|pas d[e']"
)
_THING: Final = (
    r"(?:e-?)?mail(?: ?address(?:es)?| ?adresse)?|correo(?: electr[oó]nico)?|customer|cliente?|kunde?|klant|"
    r"member|card|tarjeta|carte|cart[aã]o|karte|name|nombre|nome|nom|phone|tel[eé]fono|data|datos|registro|"
    r"asignad[oa]|identificado|known|given|provided|supplied|available|applicable|registered|tiene|aplica|"
    r"informado|renseign[eé]|angabe|angegeben|consta|disponible"
)
_WORDS: Final = (
    r"[-_.?*#/ ]+|0+|x{2,}|#?n/?[acdk]|n\.a\.?|k\.a\.?|s/[dn]|none|\(none\)|null|nil|nan|undefined|unknown|"
    r"guest(?: customer)?|walk[- ]?in(?: customer)?|cash(?: sale| customer)?|counter sale|anonymous|"
    r"default(?: customer)?|test|casual|visitor|tba|tbc|declined|refused|"
    r"consumidor final|(?:cliente|p[uú]blico)(?: en)? (?:general|ocasional|varios|mostrador|final)|"
    r"ningun[oa]|nenhuma?|nessun[oa]?|an[oóôo]nim[oe]?|anonyme|desconocid[oa]|desconhecid[oa]|sconosciut[oa]|"
    r"invitad[oa]|convidad[oa]|ospite|laufkund(?:e|schaft)|barverkauf|barkunde|unbekannt|gast|keiner|"
    r"client (?:divers|comptoir|de passage)|inconnue?|invit[eé]e?|n[eé]ant|onbekend|anoniem|ukendt|ok[aä]nd|"
    rf"(?:{_WITHOUT})(?:[ _-]*|\s)(?:{_THING})|(?:{_WITHOUT})"
)
_ADDRESSES: Final = (
    r"(?:no-?reply|do-?not-?reply|none|n\.a|no-?e?-?mail|guest|nobody|unknown|anonymous|sin-?correo|sinmail)@.*|"
    r"test@test\..*|na@na\..*|no@no\..*|a@a\..*|x+@x+\..*"
)
NO_PERSON: Final = rf"(?i)^\s*(?:{_WORDS}|{_ADDRESSES})\s*$"
"""Fits a whole cell that names no person, in the languages of most tills; for polars and Python.

In one expression, which costs a tenth of looking for words and patterns in small letters.
"""
NO_ADDRESS: Final = rf"(?i)^\s*(?:{_ADDRESSES})\s*$"
"""As `NO_PERSON`, for what must be an email address."""
