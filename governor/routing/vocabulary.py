"""The words that tell how hard a request is, in English, German, French and Spanish."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

HARD = """
    prove that|; prove the|; prove or |; prove by|; prove its|; prove it |; proof that|
    proof of the theorem; proof by|
    show that every|; show that for all|; show that any|; counterexample; theorem; lemma; induction
    derive the|; derive a|; derivation; deriving; polynomial time; polynomial-time; np-hard; np-complete
    competitive ratio; architecture for; architecture of a|; architecture of our|; software architecture
    system architecture; the architecture; codebase; code base; monorepo; monolith; multi-file
    refactor our|
    refactor the whole|; deadlock; race condition; data race; memory leak; root cause; heisenbug
    lost update
    concurrency; isolation level; use after free; heap corruption; segfault; segmentation fault
    kernel panic
    kernel oops; null pointer; distributed system; distributed lock; distributed database
    distributed trans
    byzantine; consensus protocol; eventual consistency; sharding; shard our|; multi-tenant; multi-region
    threat model; zero downtime; without downtime
    beweis; zeige, dass|; herleit; leite her; architektur; verteilte; nebenläufig; wettlaufsituation
    speicherleck
    ursachenanalyse; gegenbeispiel; ohne ausfallzeit; codebasis
    démontre; prouve que|; prouvez que|; montre que|; montrez que|; théorème; contre-exemple
    l'architecture
    d'architecture; interblocage; systèmes distribués; fuite de mémoire
    demuestra; demostra; demuestre; contraejemplo; teorema; arquitectura; interbloqueo
    sistema distribuido
    fuga de memoria; condición de carrera
"""
"""Work for the best model; each is a stem, or ends where `|` stands."""

DEEP = """
    step by step; step-by-step; think hard; think carefully; reason about; reason through; debug
    diagnos; investigat
    trade-off; tradeoff; trade off; design a|; design an|; design the|; design our|; would you design
    designing
    compare|; comparing; comparison; refactor; migrat; optimiz; optimis; analyz; analys; evaluat; assess
    strategy; strategic; plan the|; plan a|; plan our|; plan how|; planning; complexity; algorithm
    scalab; edge case
    pros and cons; critique; simulat; concurren; invariant; security review; microservice
    find out why; rebalanc
    what breaks|; what could go wrong; construct|; propose how
    schritt für schritt; entwirf; entwerf; vergleich; abwäg; wäge; fehlersuche; optimier; refaktor
    bewerte
    begründe; untersuch; algorithmus; vor- und nachteile; plane|; strategie
    étape par étape; conçois; concevoir; concevez; compare; comparez; comparer; compromis; débog
    évalue; analyse
    refactoris; algorithme; avantages et inconvénients; stratégie; planifie
    paso a paso; diseña; compara; depura; evalúa; evalua; analiza; refactoriza; algoritmo
    ventajas y desventajas
    estrategia; planifica
"""
"""Reasoning is asked for."""

WORK = """
    write|; writes|; writing|; rewrite; draft; compose|; summar; explain; describe|; review|
    implement; fix|; fixes|
    create|; build|; generate|; outline|; brainstorm; improve|; edit this|; proofread; solve|
    convert|; essay
    find the|; turn this; turn these; make this; make it|; make the|; adapt|; invent|; upgrade|
    advise|; recommend
    suggest; propose|; discuss the|; list the|; i need a|; i need an|; i need some|; give me a|
    give me an|
    how should i|; how can i|; how do i|; what should i|; help me|
    schreib; verfass; erklär; beschreib; fasse; zusammenfass; entwurf; implementier; erstell
    überarbeit; verbesser
    löse|; formulier; begutacht; ich brauche|; schlage; schlag; hilf mir|; wie kann ich|
    écris; écrire|; écrivez|; rédige; explique; décri; résum; corrige; crée|; créer; améliore
    propose|; résous
    j'ai besoin|; aide-moi|; comment puis-je|
    escribe un; escribir|; escríbe; redact; explica; describ; resum; corrig; crea|; crear|; mejora
    implementa
    resuelve; propón; inventa; necesito|; ayúdame; cómo puedo|
"""
"""Ordinary work: something is to be made, changed or explained."""

LIGHT = """
    classif; categori; sentiment|; yes or no; yes/no; true or false; one word|; another word|
    exactly one label
    label|; labels|; translat; spam|; which language; is it spelt; is it spelled; extract the date
    nothing else
    klassifizier; kategorisier; ja oder nein; übersetz; ein wort|; stimmung|
    traduis; tradui; classe|; classez; oui ou non; un seul mot; sentiment
    traduce; traduzca; traducir; clasifica; sí o no; una palabra|
"""
"""A small model does it: one answer out of a few, or the same in another language."""

_LISTS = (("hard", HARD), ("deep", DEEP), ("work", WORK), ("light", LIGHT))


class Found(NamedTuple):
    """The different words of each list in a text."""

    hard: frozenset[str]
    deep: frozenset[str]
    work: frozenset[str]
    light: frozenset[str]


def find(text: str) -> Found:
    """The words of the lists in *text*; of one that begins with another, the longer."""
    expression, lists = _compiled()
    found: dict[str, set[str]] = {name: set() for name, _ in _LISTS}
    for word in set(expression.findall(text.lower())):
        found[lists[word]].add(word)
    return Found(**{name: frozenset(words) for name, words in found.items()})


@cache
def _compiled() -> tuple[re.Pattern[str], dict[str, str]]:
    """All lists as one expression, and the list of each word: made at the first use, as it takes a while."""
    lists: dict[str, str] = {}
    ends: set[str] = set()
    for name, text in reversed(_LISTS):  # what stands in two lists is of the first
        for entry in re.split(r"[;\n]", text):
            word = entry.strip()
            if word:
                lists[word.removesuffix("|").strip()] = name
                if word.endswith("|"):
                    ends.add(word.removesuffix("|").strip())
    first = "".join(sorted({re.escape(word[0]) for word in lists}))
    # A word's beginning, as `\b` before one, but quicker to rule out.
    return re.compile(rf"(?<!\w)(?=[{first}])" + _branches(sorted(lists), 0, ends)), lists


def _branches(words: list[str], depth: int, ends: set[str]) -> str:
    """*words*, alike in their first *depth* characters, as a tree: each character is looked at once."""
    by_next: dict[str, list[str]] = {}
    for word in words:
        if len(word) > depth:
            by_next.setdefault(word[depth], []).append(word)
    options = [re.escape(char) + _branches(group, depth + 1, ends) for char, group in by_next.items()]
    if len(words[0]) == depth:  # sorted: the shortest is the first; the longest that fits is taken
        options.append(r"\b" if words[0] in ends else "")
    return options[0] if len(options) == 1 else f"(?:{'|'.join(options)})"
