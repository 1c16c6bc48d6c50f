package archive

import "github.com/polset/polset"

// What Read and Write refuse alike, in the same words.

func (l Limits) tooManyFiles(path string) error {
	return polset.Fail(polset.ClassLimit,
		"There are more than %d files, the limit for an archive (%s); it was reached at %s. Leave files out, or raise the limit.",
		l.Files, settingFiles, quote(path))
}

func (l Limits) tooManyDirectories(path string) error {
	return polset.Fail(polset.ClassLimit,
		"There are more than %d directories, the limit for an archive (%s); it was reached at %s. Leave directories out, or raise the limit.",
		l.Files, settingFiles, quote(path))
}

func (l Limits) fileTooLarge(path string, size int64) error {
	return polset.Fail(polset.ClassLimit,
		"The file %s has %d bytes, more than the limit of %d for a file (%s). Make it smaller, leave it out, or raise the limit.",
		quote(path), size, l.FileBytes, settingFileBytes)
}

func tooDeep(dir string) error {
	return polset.Fail(polset.ClassLimit,
		"The directory %s lies more than %d levels deep, which no archive may.", quote(dir), MaxDepth)
}

func tooLong(path string) error {
	return polset.Fail(polset.ClassLimit,
		"The path %s has more than %d bytes, the most that systems can unpack.", quote(path), maxPath)
}

func otherType(path string) error {
	return polset.Fail(polset.ClassContentInvalid,
		"%s is neither a file, a directory nor a symbolic link. Remove it.", quote(path))
}

func twice(path string) error {
	return polset.Fail(polset.ClassContentInvalid, "The path %s is there twice. Remove one.", quote(path))
}

func below(path string) error {
	return polset.Fail(polset.ClassContentInvalid,
		"The archive holds something below %s, which is no directory. Pack the archive anew.", quote(path))
}
