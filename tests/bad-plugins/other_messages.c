// A libberth-api of other messages: the name of the library, and the symbol that is named by them.
const char berth_api_messages_0123456789abcdef = 1;
