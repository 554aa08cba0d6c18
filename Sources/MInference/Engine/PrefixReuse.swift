/// What a new sequence does with the one whose beginning it shares.
package enum PrefixReuse: Equatable {
  /// It takes the other's place, and what the other had beyond the common prefix is lost.
  case rewind
  /// It gets the common prefix too, shared as far as memory can be and copied otherwise; the other one stays.
  case copy
  /// It reads everything.
  case none

  /// The shortest prefix that is worth a copy.
  static let leastTokens = 32

  /// What a sequence that is kept can lose for a new one without harm: the last question and its
  /// answer.
  static func expendable(common: Int) -> Int { max(256, common / 8) }

  /// - Parameters:
  ///   - common: Tokens that both begin with; the last of the prompt is not among them.
  ///   - held: Tokens of the sequence that is there.
  ///   - fitsInPlace: Whether its cache has room for the new sequence.
  ///   - mayCopy: Whether its keys and values can be copied, and there is memory for it.
  package static func choose(common: Int, held: Int, fitsInPlace: Bool, mayCopy: Bool)
    -> PrefixReuse
  {
    guard common >= leastTokens || (common > 0 && common == held) else { return .none }
    let lost = held - common
    if fitsInPlace, lost <= expendable(common: common) { return .rewind }
    if mayCopy { return .copy }
    return fitsInPlace && lost <= common ? .rewind : .none
  }
}
