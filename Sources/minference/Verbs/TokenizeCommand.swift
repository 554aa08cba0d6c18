import ArgumentParser

struct TokenizeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokenize", abstract: "Prints the token ids of a file, on one line.")
  @OptionGroup var sampling: SamplingArguments
  @Option(name: .long, parsing: .unconditional, transform: { try Size.parsed($0) }) var length:
    Size?
  @Argument var source: String?
  mutating func run() async throws {
    try StandardOutput.write("hello \(source ?? "nil") \(length?.value ?? 0)\n")
  }
}
