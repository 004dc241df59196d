"""What the demo lists: tickets for what nobody has ever played, told so that one would like to go."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import count
from random import Random

SEED = 1897


@dataclass(frozen=True)
class Ware:
    title: str
    price: str
    """In major units, as a form has it."""


def wares() -> Iterator[Ware]:
    """Endlessly many, no title twice, and the same ones in the same order whenever it is asked."""
    dice, told = Random(SEED), set[str]()
    for number in count():
        ware = PARTICULAR.get(number) or dice.choice(KINDS)(dice)
        if ware.title not in told:
            told.add(ware.title)
            yield ware


def others_than(titles: Collection[str]) -> Iterator[Ware]:
    return (ware for ware in wares() if ware.title not in titles)


def concert(dice: Random) -> Ware:
    band = dice.choice(BANDS) if dice.random() < 0.3 else f"{dice.choice(BAND_BEGINNINGS)} {dice.choice(BAND_ENDS)}"
    occasion = dice.choice(("", "", "", " unplugged", ": Farewell Tour", ": album launch", " and friends", ": twenty years", ": late show"))
    return Ware(f"{band}{occasion}, {dice.choice(HALLS)}, {evening(dice)}{maybe(dice, STANDING)}", price(dice, 18, 130))


def play(dice: Random) -> Ware:
    return Ware(f"{dice.choice(PLAYS)}, {dice.choice(THEATRES)}, {evening(dice)}{maybe(dice, SEATS)}", price(dice, 12, 95))


def match(dice: Random) -> Ware:
    (home, town, ground), (guests, _, _) = dice.sample(TEAMS, 2)
    return Ware(f"{home} v {guests}, {dice.choice(CONTESTS)}, {ground}, {town}, {afternoon(dice)}{maybe(dice, BLOCKS)}", price(dice, 9, 85))


def festival(dice: Random) -> Ware:
    return Ware(f"{dice.choice(FESTIVALS)}, {dice.choice(PASSES)}, {day(dice)}", price(dice, 55, 290))


def evening_out(dice: Random) -> Ware:
    return Ware(f"{dice.choice(EVENINGS)}, {dice.choice((*HALLS, *THEATRES))}, {evening(dice)}", price(dice, 6, 38))


KINDS: tuple[Callable[[Random], Ware], ...] = (concert, concert, concert, play, play, match, match, festival, evening_out)


def price(dice: Random, lowest: int, highest: int) -> str:
    """Most people ask for a round amount; some for what they paid, with the fee and all."""
    amount = lowest + (highest - lowest) * min(dice.random(), dice.random())
    rest = dice.random()
    if rest < 0.5:
        return f"{5 * round(amount / 5)}"
    if rest < 0.8:
        return f"{int(amount)}.50"
    return f"{amount:.2f}"


def day(dice: Random) -> str:
    month, days = dice.choice(MONTHS)
    return f"{dice.randint(1, days)} {month}"


def evening(dice: Random) -> str:
    return f"{day(dice)}, {dice.choice(('19:00', '19:30', '20:00', '20:30', '21:00'))}"


def afternoon(dice: Random) -> str:
    return f"{day(dice)}, {dice.choice(('14:00', '15:30', '17:00', '18:45', '20:15'))}"


def maybe(dice: Random, places: tuple[str, ...]) -> str:
    """Where one sits or stands, if the seller has thought of it."""
    if dice.random() < 0.45:
        return ""
    return ", " + dice.choice(places).format(row=dice.choice("ABCDEFGHJKL"), seat=dice.randint(1, 38), block=dice.randint(101, 128))


MONTHS = (("January", 31), ("February", 28), ("March", 31), ("April", 30), ("May", 31), ("June", 30),
          ("September", 30), ("October", 31), ("November", 30), ("December", 31))  # fmt: skip

STANDING = ("standing", "standing, by the stage", "balcony", "row {row}, seat {seat}", "early entry", "under 26")
SEATS = ("stalls, row {row}, seat {seat}", "dress circle, row {row}", "gallery", "box {seat}", "restricted view", "row {row}, on the aisle")
BLOCKS = ("block {block}", "block {block}, row {row}", "home end", "visitors’ end", "long side, row {row}, seat {seat}")

BAND_BEGINNINGS = ("Borrowed", "Reluctant", "Velvet", "Copper", "Northbound", "Salted", "Tangerine", "Unhurried", "Barefoot", "Seventh",
                   "Moonlit", "Sleepless", "Paper", "Thirsty")  # fmt: skip
BAND_ENDS = ("Umbrellas", "Lighthouse", "Tramway", "Kettles", "Engineers", "Librarians", "Herons", "Postcards", "Orchard", "Weathervanes",
             "Accordions", "Ferrymen", "Pianos", "Switchboard")  # fmt: skip
BANDS = (
    "Los Relojes Dormidos", "Les Parapluies Jaunes", "Die späten Straßenbahnen", "Tåkelur", "Żółte Tramwaje", "Quarteto Maré Baixa",
    "Yuki and the Snowploughs", "Marmalade Union", "Orchestre du Canal Perdu", "Čaj o páté", "Kör és Vonal", "Ñandú Sound System",
    "Amadou Sarr Sextet", "The Nine O’Clock Foxes", "İnce Saz Kervanı", "Þoka Ensemble", "Banda Girassol", "Grandmother’s Theremin",
)  # fmt: skip
HALLS = (
    "Halle Nordlicht, Hamburg", "Sala Mirasol, Valencia", "Café Luciole, Lyon", "Klub Piwnica pod Lipą, Kraków", "The Tin Roof, Glasgow",
    "The Velvet Stair, Chicago", "Blue Heron Hall, Seattle", "Kaikan Hikari, Osaka", "Ljushuset, Göteborg", "Saltlageret, København",
    "Zeltfabrik, Zürich", "Old Ropeworks, Bristol", "Dok Twaalf, Rotterdam", "Kék Lámpás, Budapest", "Salle des Tisseurs, Montréal",
    "Baobab Garden, Dakar", "Jacaranda Hall, Nairobi", "Harbour Shed 4, Cape Town", "Corrugated Iron Club, Melbourne",
    "El Patio Añil, Bogotá", "Casa do Farol, Salvador", "Banyan Stage, Mumbai", "Studio Namu, Seoul", "Lale Bahçesi, İstanbul",
)  # fmt: skip

PLAYS = (
    "The Glass Gardener", "Three Aunts and a Parrot", "Der letzte Fahrplan", "La nuit des horlogers", "El jardín de sal",
    "Wiśniowa ulica", "A Small Matter of Geese", "The Inspector’s Piano", "Winter in Flat Nine", "The Understudy’s Revenge",
    "O carteiro e a maré", "Hamlet", "A Midsummer Night’s Dream", "La traviata", "Swan Lake", "Così fan tutte", "Uncle Vanya",
    "The Cherry Orchard", "Peer Gynt", "Die Zauberflöte", "Antigone, in a new translation", "A Doll’s House",
)  # fmt: skip
THEATRES = (
    "Teatro del Olivo, Sevilla", "Théâtre de la Passerelle, Nantes", "Divadlo U Dvou lip, Brno", "Teatro das Marés, Porto",
    "Schauspiel am Kanal, Leipzig", "Lantern Playhouse, Dublin", "Teatr Pod Zegarem, Gdańsk", "Teatro Cóndor, Santiago",
    "The Old Corn Exchange, Norwich", "Paper Moon Theatre, Toronto", "Teatro della Lanterna, Genova", "Nuit Blanche, Bruxelles",
    "Teatterimakasiini, Tampere", "Cedar Court, Beirut", "Harbourside Opera, Auckland", "Rose Window Theatre, Philadelphia",
)  # fmt: skip

TEAMS = (
    ("Porto Herons", "Porto", "Estádio da Foz"), ("Cork Otters", "Cork", "Leeside Park"), ("Bergen Isbjørner", "Bergen", "Fjordhallen"),
    ("Gdańsk Storks", "Gdańsk", "Hala Bursztyn"), ("Lyon Hérissons", "Lyon", "Palais du Quai"), ("Osaka Cranes", "Osaka", "Minato Dome"),
    ("Nairobi Zebras", "Nairobi", "Uhuru Gardens Ground"), ("Montréal Castors", "Montréal", "Aréna du Canal"),
    ("Graz Steinböcke", "Graz", "Murstadion"), ("Malmö Måsar", "Malmö", "Hamnvallen"), ("Quito Colibríes", "Quito", "Estadio La Loma"),
    ("Leeds Kestrels", "Leeds", "Canal Road"), ("İzmir Martıları", "İzmir", "Körfez Arena"), ("Dunedin Terns", "Dunedin", "Harbour Oval"),
)  # fmt: skip
CONTESTS = ("handball cup semi-final", "ice hockey", "basketball", "women’s football", "volleyball league", "rugby sevens", "floorball",
            "water polo, deciding match")  # fmt: skip

FESTIVALS = (
    "Sound of the Fens, Ely", "Jazz nad Wisłą, Toruń", "Fête des Lanternes, Annecy", "Nordlys & Bass, Tromsø", "Cante ao Luar, Évora",
    "Cumbia del Río, Rosario", "Festiwal Dudziarzy, Zakopane", "Folk on the Quay, Galway", "Tambours du Fleuve, Saint-Louis",
    "Sommerton am See, Konstanz", "Gajde na Dunavu, Novi Sad", "Cherry Blossom Noise, Nagoya",
)  # fmt: skip
PASSES = ("three-day pass", "opening night", "last day", "weekend with camping", "day pass", "day pass, concession")

EVENINGS = (
    "An Evening of Mild Complaints, stand-up", "Improvised by Strangers", "Whale Songs: a lecture with loudspeakers",
    "The Great Crossword Final", "Night at the Museum of Clocks", "Open Rehearsal: Baroque for Beginners", "Poetry Slam: the final",
    "Silent Film, Loud Organ", "Chess Boxing, the gentle kind", "Tango for Two Left Feet", "Contes pour grandes personnes",
    "Lesung: Briefe an eine Straßenlaterne", "The Cheese Tasting with Jokes", "Planetarium Late: rings of Saturn",
)  # fmt: skip

PARTICULAR = {
    4: Ware("أمسية موسيقى أندلسية، بيت الزيتون، بيروت، ١٤ آذار، الساعة ٨ مساءً", "42"),
    9: Ware(
        "A Complete and Unabridged Reading of the Collected Letters of the Lighthouse Keepers of the Outer Isles, with Tea, "
        "Three Intervals, a Choir and a Very Patient Dog, Old Ropeworks, Bristol, 2 November",
        "17.50",
    ),
}
"""So that everybody who works on the pages sees them: one that is written from right to left, and one that is far too long."""
