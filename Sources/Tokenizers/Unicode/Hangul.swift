/// The arithmetic of Hangul syllables (Unicode, section 3.12).
enum Hangul {
  static let firstSyllable: UInt32 = 0xAC00
  static let firstLead: UInt32 = 0x1100
  static let leads: UInt32 = 19
  static let firstVowel: UInt32 = 0x1161
  static let vowels: UInt32 = 21
  /// One before the first final consonant: index 0 means none.
  static let firstFinal: UInt32 = 0x11A7
  static let finals: UInt32 = 28
  static let syllables = leads * vowels * finals

  /// The two or three letters of a syllable, or nil for any other scalar.
  static func decomposition(of scalar: UInt32) -> [UInt32]? {
    guard scalar >= firstSyllable && scalar < firstSyllable + syllables else { return nil }
    let index = scalar - firstSyllable
    let lead = firstLead + index / (vowels * finals)
    let vowel = firstVowel + index % (vowels * finals) / finals
    let final = index % finals
    return final == 0 ? [lead, vowel] : [lead, vowel, firstFinal + final]
  }

  /// Lead and vowel, or an open syllable and a final consonant, as one syllable.
  static func composition(of first: UInt32, and second: UInt32) -> UInt32? {
    if first >= firstLead && first < firstLead + leads,
      second >= firstVowel && second < firstVowel + vowels
    {
      return firstSyllable + ((first - firstLead) * vowels + (second - firstVowel)) * finals
    }
    if first >= firstSyllable && first < firstSyllable + syllables,
      (first - firstSyllable) % finals == 0,
      second > firstFinal && second < firstFinal + finals
    {
      return first + (second - firstFinal)
    }
    return nil
  }
}
