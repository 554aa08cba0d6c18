/// What the user can do about an error: advice, and settings any one of which helps.
///
/// Libraries name settings in words. A program that has names of its own for them, such as flags,
/// says those instead: ``text(naming:)``.
public struct Remedy: Sendable, Hashable {
  /// A setting that helps, as the object of "use".
  public struct Setting: Sendable, Hashable {
    public let words: String

    public init(_ words: String) { self.words = words }
  }

  /// What to do beside changing a setting; may be empty.
  public var advice: String
  public var settings: [Setting]

  public init(_ advice: String = "", use settings: Setting...) {
    self.advice = advice
    self.settings = settings
  }

  /// One line: the advice, then the settings, each as `name` calls it.
  public func text(naming name: (Setting) -> String) -> String {
    let names = settings.map(name)
    guard let last = names.last else { return advice }
    let listed =
      names.count == 1 ? last : names.dropLast().joined(separator: ", ") + " or " + last
    return (advice.isEmpty ? "" : advice + "; ") + "use " + listed
  }
}

extension Remedy: ExpressibleByStringInterpolation, CustomStringConvertible {
  /// Advice alone.
  public init(stringLiteral advice: String) { self.init(advice) }

  public var description: String { text(naming: \.words) }
}

extension Remedy.Setting {
  public static let shorterPrompt = Remedy.Setting("a shorter prompt")
  public static let smallerChunk = Remedy.Setting("a smaller chunk")
  public static let float32KeyValues = Remedy.Setting("float32 keys and values")
  public static let bfloat16KeyValues = Remedy.Setting("bf16 keys and values")
  public static let float8KeyValues = Remedy.Setting("fp8 keys and values")
  /// The format in which keys and values were saved.
  public static let savedKeyValues = Remedy.Setting("the saved format of keys and values")
  public static let keyValuesOnHost = Remedy.Setting("keys and values in the host's memory")
  public static let processor = Remedy.Setting("the CPU")
  public static let gpu = Remedy.Setting("a GPU")
  public static let bfloat16Linear = Remedy.Setting("bf16 linear layers")
  public static let nativeAttention = Remedy.Setting("attention in the native format")
  public static let otherThreads = Remedy.Setting("another number of threads")
}

/// An error whose description ends with a remedy.
public protocol RemediedError: Error, CustomStringConvertible {
  /// One line that says what is wrong and what to do, with settings as `name` calls them.
  func description(naming name: (Remedy.Setting) -> String) -> String
}

extension RemediedError {
  public var description: String { description(naming: \.words) }
}
