import MInference

/// An endless made-up chronicle of a harbour town: the text in which facts are hidden.
///
/// The words are this project's own. Paragraphs have one of six kinds (story, talk, letter, log,
/// ledger, description) and keep to their people and their place, so that heads which follow a
/// name through a passage have something to follow. The same seed gives the same text everywhere.
public struct TownChronicle: Sendable {
  private let grammar: TextGrammar
  private var generator: SeededGenerator
  private var paragraphs = 0

  public init(seed: UInt64) throws {
    grammar = try TextGrammar(Self.rules, bound: ["hero", "other", "place"])
    generator = SeededGenerator(seed: seed)
  }

  /// The next paragraph, without the blank line after it. Every 24th is headed by a chapter number.
  public mutating func nextParagraph() -> String {
    let hero = grammar.expand("person", using: &generator)
    var other = grammar.expand("person", using: &generator)
    while other == hero { other = grammar.expand("person", using: &generator) }
    let bindings = [
      "hero": hero, "other": other, "place": grammar.phrase("location", using: &generator),
    ]
    defer { paragraphs += 1 }
    let heading = paragraphs % 24 == 0 ? "CHAPTER \(paragraphs / 24 + 1)\n\n" : ""
    let kinds = ["story", "story", "story", "talk", "talk", "letter", "log", "ledger", "picture"]
    let kind = generator.pick(kinds) ?? "story"
    var sentences: [String] = []
    let wanted = 4 + generator.next(below: 5)
    // A paragraph does not say the same thing in the same words twice.
    for _ in 0..<(4 * wanted) where sentences.count < wanted {
      let sentence = grammar.expand(kind, bindings: bindings, using: &generator)
      if !sentences.contains(where: { $0.prefix(14) == sentence.prefix(14) }) {
        sentences.append(sentence)
      }
    }
    return heading + sentences.joined(separator: " ")
  }
}

extension TownChronicle {
  static let rules = """
    story = {when} {hero} {went} {to} {place}, {while}.
    | {hero} had {done} before {other} {arrived}.
    | It was {adverb} {adjective} at {place}, and {hero} {felt} that {thought}. | {when}, {event}.
    | Nobody at {place} could say why {hero} had {done}.
    | {hero} looked at the {thing} and {felt} that {thought}.
    | The {adjective} {thing} lay by the {thing}, where {other} had left it.
    | {event}, and {event}.
    | {other} {went} {to} {place} to ask about the {thing}, but {obstacle}.
    | {when} there was {weather} over {place}.
    | {hero} and {other} {shared}, and {when} they {went} home together.
    | After that {hero} kept the {thing} in a {adjective} {container}.
    talk = "{thought}," said {hero}, {while}. | "{question}?" asked {other}.
    | "{answer}," answered {hero} {manner}. | {other} only {gesture} and said that {thought}.
    | "{question}? {answer}." | {hero} {gesture}. "{answer}," {hero} said at last.
    | They talked of the {thing}, of the {adjective} {trade}, and of {weather}.
    | "I tell you that {thought}," {other} went on, "and that {event}."
    letter = My dear {other}, {when} I {went} {to} {place}, {while}.
    | You will have heard that {event}.
    | I hope that the {thing} reached you in the {adjective} {container}.
    | You must not believe that {thought}. | We have had {weather} here since you left {place}.
    | Tell your {relation} that {hero} has {done}.
    | I remain, with {adjective} wishes to your {relation}, your {hero}.
    | The {trade} asks {amount} {coins} for the {thing}, which is {adverb} dear.
    log = Wind from the {direction}, {weather}; {amount} boats at the {quay}.
    | {when} the {ship} came in with {amount} {measure} of {goods}.
    | The {ship} sailed for {far} with {hero} on board. | No news of the {ship}.
    | {other} repaired the {part} of the {ship}; {amount} {coins} paid.
    | The keeper of the light saw {weather} beyond {place}.
    | {amount} {measure} of {goods} were put ashore, and {event}.
    | Took on water and {goods} at {far}.
    ledger = Paid to {hero} for {amount} {measure} of {goods}: {amount} {coins}.
    | Received from {other} of {place}: {amount} {measure} of {goods}, {adjective}.
    | Owed by the {trade}: {amount} {coins}. | Lost at {place}: one {thing}, {adjective}.
    | Lent to {other} until {feast}: one {thing}. | Found by {hero}: one {container}, empty.
    | The price of {goods} has {moved} since {feast}, for {event}.
    | Kept back for {other}: {amount} {measure} of {goods} in a {container}.
    picture = {place} stands {position}, and from there one sees the {thing} of the {trade}.
    | The walls are {adjective}, the roof is {adjective}, and there is always {weather}.
    | In the {season} it smells of {goods} and of {goods}.
    | A {adjective} {container} stands by the door, and in it a {thing}.
    | Here {hero} was once seen {while}. | The people say that {thought}.
    | Beyond it the road goes {direction} to {far}.
    | Once {amount} families lived {position}; now only {other} and a {relation} are left.
    when = that evening | early next morning | on the day after {feast} | toward midnight
    | before the bells rang | when the tide had turned | in the {season} | at noon
    | some weeks later | on the first day of {month} | not long after {feast}
    | as soon as the fog lifted | in the last week of {month} | before anybody was awake
    went = walked | hurried | rode | rowed | wandered | limped | was sent | came back
    | found the way | ran | climbed | drifted
    to = to | toward | past | as far as | down to | up to | around | away from | back to
    while = carrying a {adjective} {thing} | humming an old song | counting {coins}
    | leading a {animal} | with {goods} under one arm | thinking of the {trade}
    | looking for the {thing} | followed by a {adjective} {animal} | talking of {far}
    | without a word to {other} | in {adjective} boots | with a {container} full of {goods}
    done = hidden the {thing} | sold the {adjective} {animal} | written to the {trade}
    | mended the {part} of the {ship} | lost {amount} {coins} | promised {goods} to the {trade}
    | forgotten the {thing} | quarrelled with the {trade} | read the letter from {far}
    | locked the {container} | painted the {container} {colour} | learned to carve
    | bought a {animal}
    arrived = came | knew of it | could object | had slept | returned from {far} | heard the bells
    | found the {thing} | lit the lamp | had finished supper
    event = the {trade} {verb} the {thing} | the {ship} {moored}
    | a {animal} ran off with the {thing} | the {adjective} {trade} left for {far}
    | {weather} spoiled the {goods} | somebody stole {amount} {measure} of {goods}
    | the old {trade} married the {relation} of the {trade} | the bridge was {verb2} again
    | the children {verb} a {container} in the sand | the bells rang {manner}
    | the {part} of the {ship} broke | the well ran dry | the market was moved to {place}
    | no one {verb} the {trade}
    obstacle = the door was shut | {weather} kept everybody inside | the {trade} had gone to {far}
    | nobody remembered it | there was only a {animal} in the yard
    | it had been sold for {amount} {coins} | the {ship} had just left
    | the {trade} would not speak of it | the lamp had gone out
    shared = shared some {goods} | sat under the {thing} | played cards with the {trade}
    | looked for the {animal} | waited for the {ship} | sorted the {goods}
    | argued over {amount} {coins}
    felt = felt | thought | knew | believed | feared | hoped | had always said | was certain
    | guessed
    thought = the {thing} was worth {amount} {coins} | {weather} would last until {feast}
    | the {trade} knew more than he told | there had never been enough {goods}
    | the {ship} would not come back | somebody at {place} had seen the {animal}
    | a {adjective} {container} is better than a {adjective} one
    | it is wrong to sell {goods} before {feast} | {far} lies farther than the maps say
    | the {season} had come too early | one should never trust a {trade}
    | the old {thing} still worked {manner} | no {relation} would have done that
    question = have you seen the {thing} | who {verb} the {animal} | where did the {trade} go
    | why is the {container} {colour} | do you remember the {season} when {event}
    | is it true that {thought} | what do they pay for {goods} at {far}
    | did {other} not tell you that {event} | how many {measure} are left
    answer = not before {feast} | ask the {trade} | {thought} | {amount} {measure} at most
    | somebody {verb} it | I was at {place} then | it is in the {container} | that was long ago
    | only the {relation} of the {trade} knows | you would not believe it | go to {far} and see
    | because {event}
    gesture = smiled | shrugged | shook a {adjective} head | looked out at the {weather2}
    | folded the letter | put down the {thing} | turned the {thing} over | pointed {direction}
    verb = mended | hid | found | forgot | carried off | praised | painted | weighed | burned
    | bought | borrowed | counted
    verb2 = closed | mended | painted | flooded | measured | opened
    moored = dropped anchor | was seen off {far} | lost a mast | came in late | ran aground
    | was sold to {other} | took fire | waited for the tide
    moved = risen | fallen | doubled | hardly changed | been kept secret
    person = Tobias | Marta | Ansel | Greta | Ruben | Ottilie | Casper | Linnea | Barnaby
    | Philippa | Dorian | Hester | Jonas | Wilma | Edmund | Rosalind | Matthias | Cordelia
    | Lorenz | Agatha | Benedict | Sybil | Gregor | Henrietta | Leopold | Josephine | Simeon
    | Beatrice | Valentin | Adelaide | Quentin | Harriet | Old Peter | Young Thomas | Mrs. Fenwick
    | Mr. Calloway | Captain Brandt | Doctor Hale
    location = the rope walk | the north quay | the salt house | the lower mill
    | the chapel stairs | the fish market | the lamp yard | the customs house | the tannery
    | the glass works | the orchard wall | the ferry landing | the bell tower | the weavers' row
    | the old battery | the school garden | the smithy | the herring sheds
    | the inn at the crossing | the quarry road | the observatory | the toll gate
    far = Gull Island | Corbay | the capital | Saltmarsh | the north coast | Merrow
    | Lakeside | Highfell | the other shore | Duncastle | Ravensmoor | Aldport
    | Westerhaven
    thing = lantern | compass | violin | chart | ledger | barometer | kettle | ladder | ring
    | mirror | hammer | clock | lens | saddle | anchor | telescope | needle | loom | plough
    | bell rope | chisel | map | sextant | key
    container = chest | barrel | basket | drawer | cupboard | crate | sack | tin box | trunk
    | cart | jar | cradle | suitcase
    animal = goat | donkey | gull | mare | hound | goose | cat | heron | ox | ferret | pony
    | rooster | seal
    trade = baker | chandler | ferryman | schoolmaster | cooper | notary | weaver | smith | pilot
    | miller | apothecary | glazier | surveyor | printer | shepherd | clockmaker | innkeeper
    | harbour master
    relation = sister | uncle | cousin | grandmother | nephew | brother | aunt | godfather | niece
    | daughter | son
    goods = salt | rope | candles | barley | wool | tar | honey | herring | linen | coal | apples
    | cheese | slate | copper | tea | oats | leather | timber | wax | vinegar | paper | cloves
    measure = barrels | sacks | bales | crates | casks | baskets | pounds | bundles | jars
    | cartloads
    coins = shillings | crowns | pence | florins | silver coins | guilders
    amount = two | three | four | five | six | seven | eight | nine | eleven | twelve | fifteen
    | twenty | thirty | forty | sixty | a dozen | a hundred
    ship = Patience | Grey Heron | Northern Star | Constance | Marigold | Good Intent
    | Two Sisters | Albatross | Swift | Evening Tide
    part = rudder | mainsail | keel | mast | galley | hull | bowsprit | pump
    quay = north quay | south quay | stone pier | fish stairs | coal landing
    weather = a thin rain | thick fog | a hard frost | wind from the sea | bright sunshine
    | thunder | sleet | a dry heat | low cloud | drifting snow | a fair breeze | a heavy swell
    weather2 = rain | fog | harbour | sea | snow | street | stars | tide
    direction = north | south | east | west | inland | south-west | north-east | seaward
    season = spring | summer | autumn | winter | dry season | herring season | lambing time
    month = January | February | March | April | May | June | July | August | September | October
    | November | December
    feast = the fair | Candlemas | midsummer | the harvest supper | the regatta | Michaelmas
    | the election | the wedding | the great storm | the launching
    position = above the harbour | behind the church | between two streams
    | at the end of the causeway | under the cliff | on the highest ground | beside the canal
    | across from the market
    adverb = strangely | very | hardly | certainly | surprisingly | rather | quite | unusually
    manner = quietly | slowly | gladly | honestly | plainly | carefully | coldly | softly | at once
    | without thinking | as always | twice
    adjective = old | heavy | narrow | broken | blue | quiet | crooked | useful | damp | bright
    | empty | stubborn | polished | foreign | ancient | patient | rusty | enormous | ordinary
    | white | clever | uneven | warm | dark
    colour = green | red | yellow | black | white | blue | grey
    """
}
