import ArgumentParser
import MInference

/// `minference tokenize`: ids on one line.
struct TokenizeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokenize",
    abstract: "Prints the token ids of a file on one line, separated by blanks.",
    discussion: """
      Special tokens in the text are recognised, as in Hugging Face's tokenizers.

      Example: minference tokenize --model DIR --prompt-file book.txt
      """)

  @Option(
    help: ArgumentHelp(
      "A directory with a tokenizer.json, nothing else is needed; a GGUF file; or ORG/NAME.",
      valueName: "model"), completion: .file(extensions: ["gguf"])
  )
  var model: String

  @Option(
    name: [.customLong("prompt-file"), .customLong("file")],
    help: ArgumentHelp("A UTF-8 text file; - for standard input.", valueName: "file"),
    completion: .file())
  var promptFile: String

  func run() throws {
    let tokenizer = try openTokenizer(at: model)
    let text =
      promptFile == "-"
      ? try InputText.readStandardInput() : try InputText.read(path: promptFile)
    let ids = tokenizer.encode(text)
    try StandardOutput.write(ids.lazy.map(String.init).joined(separator: " ") + "\n")
  }
}
