/// The files with chat templates of a checkpoint directory.
struct ChatTemplateFiles {
  /// What the template is called: `default`, or the name of its file.
  let name: String
  let path: String

  /// `chat_template.jinja`, and `additional_chat_templates/NAME.jinja` by ascending names.
  ///
  /// - Throws: `.unreadable` for a folder of templates that cannot be listed.
  static func inDirectory(_ directory: String) throws(TokenizerError) -> [ChatTemplateFiles] {
    var files: [ChatTemplateFiles] = []
    let path = directory + "/chat_template.jinja"
    if FileContents.exists(path) { files.append(ChatTemplateFiles(name: "default", path: path)) }
    let folder = directory + "/additional_chat_templates"
    guard FileContents.isDirectory(folder) else { return files }
    for name in try FileContents.names(in: folder) where name.hasSuffix(".jinja") {
      files.append(
        ChatTemplateFiles(name: String(name.dropLast(".jinja".count)), path: "\(folder)/\(name)"))
    }
    return files
  }
}
