"""English words that do not split where their marks say: "don't" is "do" + "n't", "Mr." and ":-)" stay whole.

The list says what spaCy 3.8 splits (spacy/lang/en/tokenizer_exceptions.py, spacy/lang/tokenizer_exceptions.py), written
as the few patterns behind its 1,347 entries, less six rare faces.
"""

from functools import cache
from itertools import product
from typing import Final

_PRONOUNS: Final = {
    "i": "'m 'm+a 'll 'll+'ve 'd 'd+'ve 've",
    "you": "'ll 'll+'ve 'd 'd+'ve 've 're",
    "he": "'ll 'll+'ve 'd 'd+'ve 's",
    "she": "'ll 'll+'ve 'd 'd+'ve 's",
    "it": "'ll 'll+'ve 'd 'd+'ve 's",
    "we": "'ll 'll+'ve 'd 'd+'ve 've 're",
    "they": "'ll 'll+'ve 'd 'd+'ve 've 're",
}
_QUESTIONS: Final = "who what when where why how there"
_POINTERS: Final = "that this these those"
_AUXILIARIES: Final = "ca could do does did had may might must need ought sha should wo would"
_MODALS: Final = "could might must should would"
_BE_AND_HAVE: Final = "ai are is was were have has dare"

# Words that look like a contraction whose apostrophe was lost, and are words of their own.
_OWN_WORDS: Final = "Ill ill Its its Hell hell Shell shell Shed shed were Were Well well Whore whore"

_SPLIT: Final = """
y'+all y+all how+'d+'y How+'d+'y not+'ve not+ve Not+'ve Not+ve can+not Can+not gon+na Gon+na got+ta Got+ta let+'s Let+'s
c'm+on C'm+on
"""

_WHOLE: Final = """
doin' Doin' goin' Goin' nothin' Nothin' nuthin' Nuthin' ol' Ol' somethin' Somethin' lovin' Lovin' havin' Havin'
'em 'll 'nuff 'S 's ‘S ‘s and/or w/o 're 'Cause 'cause 'cos 'Cos 'coz 'Coz 'cuz 'Cuz 'bout 'd ma'am Ma'am o'clock
O'clock
Mt. Ak. Ala. Apr. Ariz. Ark. Aug. Calif. Colo. Conn. Dec. Del. Feb. Fla. Ga. Ia. Id. Ill. Ind. Jan. Jul. Jun. Kan.
Kans. Ky. La. Mar. Mass. Mich. Minn. Miss. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Nov. Oct. Okla. Ore. Pa. S.C.
Sep. Sept. Tenn. Va. Wash. Wis. a.m. Adm. Bros. co. Co. Corp. D.C. Dr. e.g. E.g. E.G. Gen. Gov. i.e. I.e. I.E. Inc.
Jr. Ltd. Md. Messrs. Mo. Mont. Mr. Mrs. Ms. p.m. Ph.D. Prof. Rep. Rev. Sen. St. vs. v.s.
a. b. c. d. e. f. g. h. i. j. k. l. m. n. o. p. q. r. s. t. u. v. w. x. y. z. ä. ö. ü.
' '' \\t \\n \\") <space> C++ —
:) :-) :)) :-)) :))) :-))) (: (-: =) (= :] :-] [: [-: [= =] :o) (o: :} :-} 8) 8-) (-8 ;) ;-) (; (-; :( :-( :(( :-((
:((( :-((( ): )-: =( >:( :') :'-) :'( :'-( :/ :-/ =/ =| :| :-| ]= =[ :1 :P :-P :p :-p :O :-O :o :-o :0 :-0 :() >:o :*
:-* :3 :-3 =3 :> :-> :X :-X :x :-x :D :-D ;D ;-D =D xD XD xDD XDD 8D 8-D ^_^ ^__^ ^___^ >.< >.> <.< ._. ;_; -_- -__-
v.v V.V v_v V_V o_o o_O O_o O_O 0_o o_0 0_0 o.O O.o O.O o.o 0.0 o.0 0.o @_@ <3 <33 <333 </3 (^_^) (-_-) (._.) (>_<)
(*_*) (¬_¬)
"""


@cache
def contractions() -> dict[str, tuple[str, ...]]:
    """Return the pieces of every word of the list, by word; the pieces put together are the word."""
    words: dict[str, tuple[str, ...]] = {}

    def add(*pieces: str) -> None:
        words["".join(pieces)] = pieces

    def attach(stems: str, endings: str) -> None:
        for stem, ending in product(stems.split(), endings.split()):
            for head in (stem, stem.title()):
                add(head, *ending.split("+"))
                add(head, *ending.replace("'", "").split("+"))

    for pronoun, endings in _PRONOUNS.items():
        attach(pronoun, endings)
    attach(f"{_QUESTIONS} {_POINTERS}", "'ll 'll+'ve 'd 'd+'ve")
    attach(f"{_QUESTIONS} that this", "'s")
    attach(f"{_QUESTIONS} these those", "'re 've")
    attach(_AUXILIARIES, "n't n't+'ve")
    attach(_MODALS, "'ve")
    attach(_BE_AND_HAVE, "n't")
    for hour, half in product(range(1, 13), ("a.m.", "am", "p.m.", "pm")):
        add(str(hour), half)
    for letter in "cfkCFK":
        add("°", letter, ".")
    for word in _SPLIT.split():
        add(*word.split("+"))
    for word in _WHOLE.split():
        add(word)
    for word in _OWN_WORDS.split():
        words.pop(word, None)
    for pieces in list(words.values()):  # the typographic apostrophe splits the same words
        add(*(piece.replace("'", "’") for piece in pieces))
    return words
