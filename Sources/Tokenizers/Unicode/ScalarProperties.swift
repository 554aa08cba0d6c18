/// The properties that regular expressions name: general categories, scripts and Perl's classes.
///
/// The tables are those of Oniguruma as Hugging Face's `tokenizers` has it.
enum ScalarProperties {
  /// In the order of `generalCategoryTransitions`, with their long names (UAX #44, table 12).
  static let categoryNames: [(short: String, long: String)] = [
    ("cn", "unassigned"), ("lu", "uppercaseletter"), ("ll", "lowercaseletter"),
    ("lt", "titlecaseletter"), ("lm", "modifierletter"), ("lo", "otherletter"),
    ("mn", "nonspacingmark"), ("mc", "spacingmark"), ("me", "enclosingmark"),
    ("nd", "decimalnumber"), ("nl", "letternumber"), ("no", "othernumber"),
    ("pc", "connectorpunctuation"), ("pd", "dashpunctuation"), ("ps", "openpunctuation"),
    ("pe", "closepunctuation"), ("pi", "initialpunctuation"), ("pf", "finalpunctuation"),
    ("po", "otherpunctuation"), ("sm", "mathsymbol"), ("sc", "currencysymbol"),
    ("sk", "modifiersymbol"), ("so", "othersymbol"), ("zs", "spaceseparator"),
    ("zl", "lineseparator"), ("zp", "paragraphseparator"), ("cc", "control"), ("cf", "format"),
    ("cs", "surrogate"), ("co", "privateuse"),
  ]

  private static let groupNames: [String: String] = [
    "letter": "l", "mark": "m", "combiningmark": "m", "number": "n", "punctuation": "p",
    "punct": "p", "symbol": "s", "separator": "z", "other": "c",
  ]

  /// In the order of `scriptTransitions`, whose index is one more.
  static let scriptNames = [
    "common", "inherited", "latin", "greek", "cyrillic", "armenian", "hebrew", "arabic", "syriac",
    "thaana", "devanagari", "bengali", "gurmukhi", "gujarati", "oriya", "tamil", "telugu",
    "kannada", "malayalam", "sinhala", "thai", "lao", "tibetan", "myanmar", "georgian", "hangul",
    "ethiopic", "khmer", "mongolian", "hiragana", "katakana", "bopomofo", "han", "yi",
  ]

  static let digits = categories { $0 == "nd" }
  static let whiteSpace = UnicodeData.scalars(characterClassTransitions) {
    UInt8(truncatingIfNeeded: $0) & CharacterClasses.whiteSpace != 0
  }
  /// `\w`: letters, marks, digits, connectors and what Oniguruma adds to them.
  static let word = categories { name in
    name.hasPrefix("l") || name.hasPrefix("m") || name == "nd" || name == "pc"
  }.union(UnicodeData.scalars(furtherWordTransitions) { $0 == 1 })
  static let marks = categories { $0.hasPrefix("m") }
  static let punctuation = categories { $0.hasPrefix("p") }

  private static func categories(where isChosen: (String) -> Bool) -> ScalarSet {
    UnicodeData.scalars(generalCategoryTransitions) { isChosen(categoryNames[$0].short) }
  }

  /// The scalars of a general category, a group of them or a script, by a short or long name in any case, with
  /// or without `gc=` or `sc=`; nil for what is not known.
  static func set(named text: String) -> ScalarSet? {
    var name = String(text.lowercased().filter { $0 != "_" && $0 != " " && $0 != "-" })
    if let sign = name.firstIndex(of: "=") {
      let kind = name[..<sign]
      guard ["gc", "generalcategory", "sc", "script"].contains(kind) else { return nil }
      name = String(name[name.index(after: sign)...])
    }
    if name == "any" { return .all }
    if name == "ascii" { return ScalarSet([0...0x7F]) }
    name = groupNames[name] ?? name
    if name == "lc" || name == "l&" { return categories { ["lu", "ll", "lt"].contains($0) } }
    if name.count == 1, "lmnpszc".contains(name) { return categories { $0.hasPrefix(name) } }
    if let category = categoryNames.first(where: { $0.short == name || $0.long == name }) {
      return categories { $0 == category.short }
    }
    if let script = scriptNames.firstIndex(of: name) {
      return UnicodeData.scalars(scriptTransitions) { $0 == script + 1 }
    }
    return nil
  }

  /// What a scalar matches where case is ignored: all scalars that share its case mappings.
  static func caseVariants(of scalar: UInt32) -> ScalarSet {
    var found: Set<UInt32> = [scalar]
    var pending = [scalar]
    while let next = pending.popLast() {
      guard let properties = Unicode.Scalar(next)?.properties else { continue }
      let mappings = [
        properties.lowercaseMapping, properties.uppercaseMapping, properties.titlecaseMapping,
      ]
      var others = mappings.compactMap {
        $0.unicodeScalars.count == 1 ? $0.unicodeScalars.first?.value : nil
      }
      // These map to ASCII, and nothing in ASCII maps to them.
      if next == 0x73 { others.append(0x17F) }
      if next == 0x6B { others.append(0x212A) }
      for other in others where found.insert(other).inserted { pending.append(other) }
    }
    return ScalarSet(found.map { $0...$0 })
  }
}
