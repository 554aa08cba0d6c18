/// What Python's `str.isalpha` and its kin say.
extension Unicode.Scalar {
  var isPythonLetter: Bool {
    switch properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
    default: false
    }
  }

  var isPythonAlphanumeric: Bool { isPythonLetter || properties.numericType != nil }
}

extension Unicode.NumericType? {
  var isDigit: Bool { self == .decimal || self == .digit }
}

extension TemplateText {
  /// Whether there are characters and all of them are of a kind.
  func all(_ holds: (Unicode.Scalar) -> Bool) -> Bool {
    !isEmpty && string.unicodeScalars.allSatisfy(holds)
  }

  /// Whether there are cased characters and all of them are lowercase.
  var isLowercase: Bool {
    let cased = string.unicodeScalars.filter(\.properties.isCased)
    return !cased.isEmpty && cased.allSatisfy(\.properties.isLowercase)
  }

  /// Whether there are cased characters and all of them are uppercase.
  var isUppercase: Bool {
    let cased = string.unicodeScalars.filter(\.properties.isCased)
    return !cased.isEmpty && cased.allSatisfy(\.properties.isUppercase)
  }

  /// Whether every word begins with an uppercase character and goes on with lowercase ones.
  var isTitle: Bool {
    var isWithin = false
    var hasWords = false
    for scalar in string.unicodeScalars {
      let properties = scalar.properties
      if properties.isUppercase || properties.generalCategory == .titlecaseLetter {
        if isWithin { return false }
        (isWithin, hasWords) = (true, true)
      } else if properties.isLowercase {
        if !isWithin { return false }
        hasWords = true
      } else {
        isWithin = false
      }
    }
    return hasWords
  }

  var isIdentifier: Bool {
    guard let first = string.unicodeScalars.first else { return false }
    return (first == "_" || first.properties.isXIDStart)
      && string.unicodeScalars.allSatisfy { $0 == "_" || $0.properties.isXIDContinue }
  }
}
