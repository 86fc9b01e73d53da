fn main() -> std::process::ExitCode {
    usher::authorized_keys_main()
}
