import JSON

/// The manual page in the macros of man(7), from what the argument parser says of its commands.
struct ManualPage {
  private let command: JSONValue

  /// - Parameter dump: What `--experimental-dump-help` prints.
  init(dump: String) throws {
    let value = try JSONValue(parsing: Array(dump.utf8))
    guard let command = value["command"] else {
      throw CommandFailure(.software, "manual: the parser describes no command; report this")
    }
    self.command = command
  }

  var text: String {
    let name = command["commandName"]?.text ?? "minference"
    var page = """
      .TH \(name.uppercased()) 1 "" "\(name) \(BuildDescription.version)" "User Commands"
      .SH NAME
      \(name) \\- \(escaped(command["abstract"]?.text ?? ""))
      .SH SYNOPSIS
      .B \(name)
      .I verb
      .RI [ options ]
      .SH DESCRIPTION
      Sizes take suffixes: 32K, 1M. Results go to standard output, all else to standard error.
      .B \(name) help
      .I verb
      shows the options of one verb.

      """
    for verb in verbs(of: command, named: name) { page += verb }
    page += """
      .SH EXIT STATUS
      0, or 64 to 78 with one line on standard error that names the file or option, what is wrong with \
      it and what to do.
      .SH ENVIRONMENT
      .TP
      .B MINFERENCE_MODEL
      The model that demo reads with.
      .TP
      .B MINFERENCE_CUDA_LIBRARIES
      A directory in which NVRTC and cuBLASLt are looked for first.
      .TP
      .B MINFERENCE_CUDA_DEVICE
      The driver's number of the GPU.
      .TP
      .B MINFERENCE_CPU_PRODUCTS
      A processor with dot products of bfloat16 pairs multiplies BF16 weights by them where a prompt has \
      many rows, and rounds activations to bfloat16 for it. float32: it does not. bf16: one without them is \
      refused.
      .TP
      .B HF_HUB_CACHE, HF_HOME
      Where models of Hugging Face lie on this machine.

      """
    return page
  }

  /// A section for each verb, those of nested ones behind the verb that they belong to.
  private func verbs(of command: JSONValue, named name: String) -> [String] {
    (command["subcommands"]?.elements ?? []).flatMap { verb -> [String] in
      guard verb["shouldDisplay"] != .boolean(false), let word = verb["commandName"]?.text,
        word != "help"
      else { return [] }
      let whole = name + " " + word
      return [section(verb, named: whole)] + verbs(of: verb, named: whole)
    }
  }

  private func section(_ verb: JSONValue, named name: String) -> String {
    var text = ".SH \(escaped(name.uppercased()))\n\(escaped(verb["abstract"]?.text ?? ""))\n"
    if let discussion = verb["discussion"]?.text {
      for paragraph in discussion.split(separator: "\n\n") {
        text += ".PP\n"
        for line in paragraph.split(separator: "\n") { text += escaped(String(line)) + "\n" }
      }
    }
    for argument in verb["arguments"]?.elements ?? [] {
      guard argument["shouldDisplay"] != .boolean(false) else { continue }
      text += ".TP\n" + label(argument) + "\n" + escaped(argument["abstract"]?.text ?? "")
      if let value = argument["defaultValue"]?.text, !value.isEmpty {
        text += " (default: \(escaped(value)))"
      }
      text += "\n"
    }
    return text
  }

  private func label(_ argument: JSONValue) -> String {
    let value = escaped(argument["valueName"]?.text ?? "")
    let names = (argument["names"]?.elements ?? []).compactMap { name -> String? in
      guard let word = name["name"]?.text else { return nil }
      return escaped((name["kind"] == .string("short") ? "-" : "--") + word)
    }
    guard !names.isEmpty else { return ".I \(value)" }
    let bold = ".B " + names.joined(separator: ", ")
    return argument["kind"] == .string("flag") ? bold : bold + " \\fI\(value)\\fR"
  }

  /// The text without what the macros would take for themselves.
  private func escaped(_ text: String) -> String {
    var result = ""
    for character in text {
      switch character {
      case "\\": result += "\\e"
      case "-": result += "\\-"
      case "\n": result += " "
      default: result.append(character)
      }
    }
    return result.hasPrefix(".") || result.hasPrefix("'") ? "\\&" + result : result
  }
}
