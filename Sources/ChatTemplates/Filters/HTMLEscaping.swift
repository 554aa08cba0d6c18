/// Escapes for HTML, as markupsafe has them, and for addresses.
enum HTMLEscaping {
  static func escaped(
    _ text: TemplateText, _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> TemplateText {
    var result = text
    if !text.isMarkup {
      try budget.read(bytes: text.bytes.count)
      try budget.make(bytes: 5 * text.bytes.count)
      result = text.mapScalars { scalar, bytes in
        switch scalar {
        case "&": bytes.append(contentsOf: "&amp;".utf8)
        case "<": bytes.append(contentsOf: "&lt;".utf8)
        case ">": bytes.append(contentsOf: "&gt;".utf8)
        case "'": bytes.append(contentsOf: "&#39;".utf8)
        case "\"": bytes.append(contentsOf: "&#34;".utf8)
        default: bytes.append(scalar)
        }
      }
    }
    result.isMarkup = true
    return result
  }

  /// Every byte but letters, digits and `_.-~` (and `/` outside a query) as `%XX`.
  static func percentEncoded(
    _ text: TemplateText, isQuery: Bool = false, _ budget: TemplateBudget
  ) throws(ChatTemplateError) -> TemplateText {
    try budget.read(bytes: 2 * text.bytes.count)
    try budget.make(bytes: 3 * text.bytes.count)
    let digits = Array("0123456789ABCDEF".utf8)
    return text.mapScalars { scalar, bytes in
      switch scalar {
      case "a"..."z", "A"..."Z", "0"..."9", "_", ".", "-", "~": bytes.append(scalar)
      case "/" where !isQuery: bytes.append(scalar)
      case " " where isQuery: bytes.append(0x2B)
      default:
        for byte in String(scalar).utf8 {
          bytes.append(contentsOf: [0x25, digits[Int(byte >> 4)], digits[Int(byte & 15)]])
        }
      }
    }
  }
}
