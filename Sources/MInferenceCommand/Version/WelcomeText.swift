import Files
import MInference

/// What `minference` alone says: what to try next on this machine.
enum WelcomeText {
  static func make() -> String {
    var text = """
      minference answers questions about very long prompts, with dynamic sparse attention.

      Try:

      """
    if (try? ModelDirectory.builtIn()) != nil {
      text += "  minference demo\n      reads a long document densely and sparsely, and compares\n"
    }
    let models = cachedModels()
    let model = models.first ?? "DIR"
    text += """
        minference generate --model \(model) --prompt-file report.txt --question "What changed?"
            answers a question about a file
        minference generate --model \(model) --chat --prompt-file report.txt
            talks about it, question after question

      """
    text += "\n"
    if models.isEmpty {
      text += """
        No model is in Hugging Face's cache on this machine. Any directory with config.json,
        *.safetensors and tokenizer.json will do, and any GGUF file; to download one:
          hf download Qwen/Qwen2.5-1.5B-Instruct
        and name it with --model Qwen/Qwen2.5-1.5B-Instruct.

        """
    } else {
      text += "Models on this machine: \(models.joined(separator: ", "))\n"
    }
    return text + "\nminference --help lists all verbs, minference help VERB the options of one.\n"
  }

  /// Up to four names of models in Hugging Face's cache that have a configuration.
  private static func cachedModels() -> [String] {
    let cache = HuggingFaceCache()
    let folders = (try? WholeFile.names(inDirectory: cache.directory)) ?? []
    var found: [String] = []
    for folder in folders where folder.hasPrefix("models--") && found.count < 4 {
      let parts = parts(of: String(folder.dropFirst("models--".count)))
      guard parts.count == 2 else { continue }
      let name = parts.joined(separator: "/")
      if let path = try? cache.path(ofModel: name), WholeFile.isReadable(path + "/config.json") {
        found.append(name)
      }
    }
    return found
  }

  /// The parts between double hyphens.
  private static func parts(of name: String) -> [String] {
    guard let range = name.firstRange(of: "--") else { return [name] }
    return [String(name[..<range.lowerBound]), String(name[range.upperBound...])]
  }
}
