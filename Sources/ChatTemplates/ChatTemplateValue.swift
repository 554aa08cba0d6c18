/// What a caller can hand to a template beside the messages.
public indirect enum ChatTemplateValue: Sendable, Equatable {
  case null
  case bool(Bool)
  case integer(Int)
  case number(Double)
  case string(String)
  case list([ChatTemplateValue])
  /// Members in order.
  case object([Member])

  /// A key and its value.
  public struct Member: Sendable, Equatable {
    public var key: String
    public var value: ChatTemplateValue

    public init(_ key: String, _ value: ChatTemplateValue) {
      self.key = key
      self.value = value
    }
  }
}
